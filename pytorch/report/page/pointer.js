// From pointers and keys to the cursor: a layer and a unit of it, in all panels at once.

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
    if (shown.told === panel) leave();
  });
}

function leave() {
  shown.cursor = null;
  tooltip.hidden = true;
  tell(null);
}

function pointAt(panel, event) {
  const layer = Math.floor((event.offsetX - LEFT) / panel.step);
  const below = event.offsetY - CELLS_TOP;
  if (layer < 0 || layer >= panel.layers.length || below >= CELLS) return leave();
  const size = panel.sizes[layer], place = Math.floor(below / CELLS * size);
  shown.cursor = { layer, unit: below < 0 || size === 0 ? -1 : unitAt(panel, layer, place) };
  showTooltip(panel, event.clientX, event.clientY);
}

function showTooltip(panel, x, y) {
  shown.told = panel;
  tooltip.textContent = tell(panel);
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
  if (!cursor) return { layer: 0, unit: panel.sizes[0] ? unitAt(panel, 0, 0) : -1 };
  return key in moves ? inLayer(panel, cursor, key, moves[key]) : toLayer(panel, cursor, cursor.layer + sideways[key]);
}

// Above the first unit of a layer is its mean; only an arrow leads there.
function inLayer(panel, { layer, unit }, key, move) {
  const place = unit < 0 ? -1 : placeOf(panel, layer, unit);
  const first = key === "ArrowUp" && place <= 0 ? -1 : 0;
  const next = Math.min(Math.max(place + move, first), panel.sizes[layer] - 1);
  return { layer, unit: next < 0 ? -1 : unitAt(panel, layer, next) };
}

// To the unit at the same height of another layer.
function toLayer(panel, { layer, unit }, wanted) {
  const next = Math.min(Math.max(wanted, 0), panel.layers.length - 1);
  if (unit < 0 || panel.sizes[next] === 0) return { layer: next, unit: -1 };
  const height = (placeOf(panel, layer, unit) + 0.5) / panel.sizes[layer];
  return { layer: next, unit: next === layer ? unit : unitAt(panel, next, Math.floor(height * panel.sizes[next])) };
}
