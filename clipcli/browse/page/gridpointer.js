// Mouse and finger in the grid: a click opens or chooses, a finger that stays chooses, as on a telephone.

const LONG_PRESS = 450; // milliseconds

export function followPointer(grid) {
  const { root, options } = grid;
  let timer = 0;
  let stayed = false; // the finger has chosen already: the click that follows is none
  const stop = () => clearTimeout(timer);
  root.addEventListener("pointerdown", (event) => {
    const cell = event.target.closest(".cell");
    stayed = false;
    if (event.pointerType !== "touch" || !cell) return;
    timer = setTimeout(() => {
      stayed = true;
      options.selection.toggle(grid.items.ids, Number(cell.dataset.index));
      navigator.vibrate?.(10);
    }, LONG_PRESS);
  });
  for (const kind of ["pointerup", "pointercancel", "pointerleave"]) root.addEventListener(kind, stop);
  addEventListener("scroll", stop, { passive: true });
  root.addEventListener("contextmenu", (event) => {
    if (stayed) event.preventDefault();
  });
  root.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    if (stayed) stayed = false;
    else clicked(grid, cell, event);
  });
}

function clicked(grid, cell, event) {
  const index = Number(cell.dataset.index);
  const { selection } = grid.options;
  grid.current = index;
  cell.focus({ preventScroll: true });
  if (event.shiftKey) selection.range(grid.items.ids, index);
  else if (event.ctrlKey || event.metaKey || selection.size || event.target.closest(".tick"))
    selection.toggle(grid.items.ids, index);
  else grid.options.onOpen(index);
}
