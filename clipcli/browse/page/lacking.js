// Small pictures that do not come: their boxes say so in place of the browser's own mark, and they are asked for again once
// the program answers. The grid and the large picture look after their own.

export function startLacking() {
  const failed = ({ target }) => {
    if (target instanceof HTMLImageElement && !target.closest("#grid, .stage")) target.classList.add("lacking");
  };
  document.addEventListener("error", failed, true); // it does not bubble
}

export function fetchLacking() {
  for (const picture of document.querySelectorAll("img.lacking")) {
    picture.classList.remove("lacking");
    picture.setAttribute("src", picture.getAttribute("src"));
  }
}
