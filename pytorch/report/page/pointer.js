// From pointers and keys to the cursor, which all panels share.

const PAGE_OF_UNITS = 10;
const tooltip = make("div", { id: "tooltip", hidden: true });
tooltip.setAttribute("aria-hidden", "true");

function listen(panel) {
  const { canvas } = panel;
  canvas.addEventListener("pointermove", (event) => pointAt(panel, event));
  canvas.addEventListener("pointerdown", (event) => pointAt(panel, event));
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") leave();
  });
  canvas.addEventListener("keydown", (event) => step(panel, event));
  canvas.addEventListener("blur", () => {
    if (shown.active === panel) leave();
  });
}

function leave() {
  shown.cursor = null;
  tooltip.hidden = true;
  announce(null);
}

function pointAt(panel, event) {
  const layer = Math.floor((event.offsetX - LEFT) / panel.step);
  const below = event.offsetY - CELLS_TOP;
  if (layer < 0 || layer >= panel.layers.length || below >= CELLS) return leave();
  const size = panel.sizes[layer], place = Math.floor(below / CELLS * size);
  shown.cursor = cursorAt(panel, layer, below < 0 || size === 0 ? -1 : place);
  showTooltip(panel, event.clientX, event.clientY);
}

function showTooltip(panel, x, y) {
  shown.active = panel;
  tooltip.textContent = announce(panel);
  tooltip.hidden = false;
  const { width, height } = tooltip.getBoundingClientRect();
  const right = document.documentElement.clientWidth;
  tooltip.style.left = `${Math.max(4, Math.min(x + 14, right - width - 4))}px`;
  tooltip.style.top = `${y + height + 24 > window.innerHeight ? y - height - 12 : y + 16}px`;
}

function step(panel, event) {
  if (event.altKey || event.metaKey) return;
  if (event.key === "Escape") return leave();
  const next = nextCursor(panel, shown.cursor, event.key);
  if (!next) return;
  event.preventDefault();
  shown.cursor = next;
  const span = cursorSpan(panel, next), place = LEFT + (next.layer + 1) * panel.step;
  keepVisible(panel, place);
  const box = panel.canvas.getBoundingClientRect();
  showTooltip(panel, box.left + place, box.top + span.top);
}

function keepVisible(panel, place) {
  const { box } = panel;
  if (place < box.scrollLeft + LEFT + panel.step || place > box.scrollLeft + box.clientWidth) {
    box.scrollLeft = place - box.clientWidth / 2;
  }
}

function nextCursor(panel, cursor, key) {
  const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE_OF_UNITS, PageDown: PAGE_OF_UNITS, Home: -Infinity, End: Infinity };
  const sideways = { ArrowLeft: -1, ArrowRight: 1 };
  if (!(key in moves) && !(key in sideways)) return null;
  if (!cursor || placeOf(panel, cursor) === null) return cursorAt(panel, cursor?.layer ?? 0, panel.sizes[cursor?.layer ?? 0] ? 0 : -1);
  return key in moves ? inLayer(panel, cursor, key, moves[key]) : toLayer(panel, cursor, cursor.layer + sideways[key]);
}

// The mean of a layer is above its first unit; only the up arrow leads there.
function inLayer(panel, cursor, key, move) {
  const place = placeOf(panel, cursor), first = key === "ArrowUp" && place <= 0 ? -1 : 0;
  return cursorAt(panel, cursor.layer, Math.min(Math.max(place + move, first), panel.sizes[cursor.layer] - 1));
}

// To the unit at the same height of another layer.
function toLayer(panel, cursor, wanted) {
  const next = Math.min(Math.max(wanted, 0), panel.layers.length - 1);
  if (cursor.unit < 0 || panel.sizes[next] === 0) return cursorAt(panel, next, -1);
  const height = (placeOf(panel, cursor) + 0.5) / panel.sizes[cursor.layer];
  return next === cursor.layer ? cursor : cursorAt(panel, next, Math.floor(height * panel.sizes[next]));
}
