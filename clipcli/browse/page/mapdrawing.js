// The map on its canvas: points, thumbnails where they do not cover one another, and the names of the clusters.

import { thumb } from "./api.js";

const FEW = 6000; // points that are drawn round and smooth; more are drawn as squares, pixel by pixel
const LOADING = 6; // thumbnails fetched at once
const KEPT = 600; // thumbnails kept

const pictures = new Map(); // id -> an image, also one that is still on its way
let loading = 0;
let queue = [];
let settling = 0;

/** Draw. `map.visible` is left behind for who looks what is under the pointer. */
export function paint({ canvas, map, eye, side, colours, marked, named, again }) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const dense = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
  }
  const brush = canvas.getContext("2d");
  brush.setTransform(dense, 0, 0, dense, 0, 0);
  brush.clearRect(0, 0, width, height);
  if (!map?.ids.length) return;
  const scale = side / 10000;
  const left = width / 2 - eye.x * side;
  const top = height / 2 - eye.y * side;
  const seen = [];
  for (let index = 0; index < map.ids.length; index += 1) {
    const x = left + map.x[index] * scale;
    const y = top + map.y[index] * scale;
    if (x > -40 && y > -40 && x < width + 40 && y < height + 40) seen.push(index);
  }
  const at = (index) => [left + map.x[index] * scale, top + map.y[index] * scale];
  const radius = Math.max(1.6, Math.min(5, Math.sqrt((width * height) / Math.max(60, seen.length)) / 9));
  if (seen.length <= FEW) round(brush, map, seen, at, radius, colours);
  else pixels(brush, map, seen, left, top, scale, radius, colours, dense);
  map.visible = thumbnails({ brush, map, seen, at, width, height, colours, again });
  if (marked >= 0) ring(brush, at(marked), radius + 4, colours[map.colour[map.cluster[marked]]]);
  names({ brush, canvas, map, left, top, scale, width, height, named });
}

function round(brush, map, seen, at, radius, colours) {
  const kinds = colours.map(() => []);
  for (const index of seen) kinds[map.colour[map.cluster[index]]].push(index);
  brush.globalAlpha = 0.85;
  kinds.forEach((members, kind) => {
    brush.fillStyle = colours[kind];
    brush.beginPath();
    for (const index of members) {
      const [x, y] = at(index);
      brush.moveTo(x + radius, y);
      brush.arc(x, y, radius, 0, 7);
    }
    brush.fill();
  });
  brush.globalAlpha = 1;
}

function pixels(brush, map, seen, left, top, scale, radius, colours, dense) {
  const { width, height } = brush.canvas;
  const image = brush.createImageData(width, height);
  const dots = new Uint32Array(image.data.buffer);
  const inks = colours.map((colour) => {
    const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
    return ((225 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // little-endian, as all machines with a browser are
  });
  const size = Math.max(2, Math.round(radius * dense * 1.4));
  for (const index of seen) {
    const x = Math.round((left + map.x[index] * scale) * dense - size / 2);
    const y = Math.round((top + map.y[index] * scale) * dense - size / 2);
    const ink = inks[map.colour[map.cluster[index]]];
    const [first, last] = [Math.max(0, x), Math.min(width, x + size)];
    for (let row = Math.max(0, y); row < Math.min(height, y + size); row += 1)
      dots.fill(ink, row * width + first, Math.max(row * width + first, row * width + last));
  }
  brush.putImageData(image, 0, 0);
}

/** Thumbnails at distances that leave the points between them to be seen; the most typical of each cluster first. */
function thumbnails({ brush, map, seen, at, width, height, colours, again }) {
  const size = Math.max(46, Math.min(96, Math.sqrt((width * height) / Math.max(24, seen.length)) * 0.9));
  const apart = seen.length > 300 ? size * 1.75 : size * 1.12;
  map.places ??= new Map(map.ids.map((id, index) => [id, index]));
  const first = map.clusters
    .flatMap(({ examples }) => examples.slice(0, 2))
    .map((id) => map.places.get(id))
    .filter((index) => index !== undefined);
  const taken = new Map();
  const boxes = [];
  for (const index of [...first, ...seen]) {
    const [x, y] = at(index);
    if (x < 0 || y < 0 || x > width || y > height) continue;
    const [column, line] = [Math.floor(x / apart), Math.floor(y / apart)];
    let free = true;
    for (let dx = -1; dx <= 1 && free; dx += 1) {
      for (let dy = -1; dy <= 1 && free; dy += 1) {
        const other = taken.get(`${column + dx} ${line + dy}`);
        if (other && Math.abs(other[0] - x) < apart && Math.abs(other[1] - y) < apart) free = false;
      }
    }
    if (!free) continue;
    taken.set(`${column} ${line}`, [x, y]);
    boxes.push({ index, x, y });
    if (boxes.length >= 220) break;
  }
  const drawn = [];
  const wanted = [];
  for (const box of boxes) {
    const id = map.ids[box.index];
    const picture = pictures.get(id);
    if (!picture) wanted.push(id);
    if (!picture?.complete || !picture.naturalWidth) continue;
    const factor = size / Math.max(picture.naturalWidth, picture.naturalHeight);
    box.width = picture.naturalWidth * factor;
    box.height = picture.naturalHeight * factor;
    const [x, y] = [box.x - box.width / 2, box.y - box.height / 2];
    brush.fillStyle = colours[map.colour[map.cluster[box.index]]];
    brush.fillRect(x - 2, y - 2, box.width + 4, box.height + 4);
    brush.drawImage(picture, x, y, box.width, box.height);
    drawn.push(box);
  }
  clearTimeout(settling);
  queue = [];
  if (wanted.length) {
    settling = setTimeout(() => {
      queue = wanted;
      fetchMore(again);
    }, 140);
  }
  return drawn.reverse(); // the topmost first
}

function fetchMore(again) {
  while (loading < LOADING && queue.length) {
    const id = queue.shift();
    if (pictures.has(id)) continue;
    const picture = new Image();
    loading += 1;
    picture.onload = picture.onerror = () => {
      loading -= 1;
      again();
      fetchMore(again);
    };
    picture.src = thumb(id, 160);
    pictures.set(id, picture);
    if (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  }
}

function ring(brush, [x, y], radius, colour) {
  brush.beginPath();
  brush.arc(x, y, radius, 0, 7);
  brush.lineWidth = 2.5;
  brush.strokeStyle = colour;
  brush.stroke();
}

/** The largest clusters first; a name that would cover another one is left out. */
function names({ brush, canvas, map, left, top, scale, width, height, named }) {
  const look = getComputedStyle(canvas.parentElement);
  const [ink, ground] = [look.color, look.backgroundColor];
  brush.font = `600 13.5px ${look.fontFamily}`;
  brush.textBaseline = "middle";
  brush.textAlign = "center";
  const drawn = [];
  for (const { cluster, x, y } of [...map.clusters].sort((a, b) => b.count - a.count)) {
    const words = map.names.has(cluster) ? named(cluster) : String(cluster + 1); // as in the list beside the map
    const text = words.length > 32 ? `${[...words].slice(0, 31).join("")}…` : words;
    const half = brush.measureText(text).width / 2 + 9;
    const [cx, cy] = [Math.min(width - half - 4, Math.max(half + 4, left + x * scale)), top + y * scale];
    if (cy < 16 || cy > height - 16 || left + x * scale < -half || left + x * scale > width + half) continue;
    if (drawn.some((other) => Math.abs(other.cx - cx) < other.half + half + 4 && Math.abs(other.cy - cy) < 28))
      continue;
    if (drawn.some((other) => other.words === words && Math.hypot(other.cx - cx, other.cy - cy) < 240)) continue;
    drawn.push({ cx, cy, half, words });
    brush.globalAlpha = 0.9;
    brush.fillStyle = ground;
    brush.beginPath();
    brush.roundRect(cx - half, cy - 13, half * 2, 26, 13);
    brush.fill();
    brush.globalAlpha = 1;
    brush.fillStyle = ink;
    brush.fillText(text, cx, cy);
  }
}
