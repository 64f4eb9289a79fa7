// A panel on its canvas: the means of the layers as bars, and under them a column for each layer.

const LEFT = 30, STRIP_TOP = 6, STRIP = 46, CELLS_TOP = 60, CELLS = 320, NAMES_GAP = 8, NARROWEST = 4;
const NAME_FONT = "11px system-ui, sans-serif", NAME_STEP = 12, LONGEST_NAME = 18;

function layOut(panel, width) {
  const columns = panel.layers.length;
  panel.width = Math.max(width, LEFT + columns * NARROWEST);
  panel.step = (panel.width - LEFT) / columns;
  panel.names = columnNames(panel.layers, panel.part.blocks, panel.step);
  const context = panel.canvas.getContext("2d");
  context.font = NAME_FONT;
  const longest = Math.max(0, ...panel.names.map(({ text }) => context.measureText(text).width));
  panel.height = CELLS_TOP + CELLS + NAMES_GAP + Math.ceil(longest) + 4;
}

// Names of the layers or, where there is no room for them, of the blocks.
function columnNames(layers, blocks, step) {
  const short = (name) => [...name].length > LONGEST_NAME ? [...name].slice(0, LONGEST_NAME - 1).join("") + "…" : name;
  let names = layers.map((name, column) => ({ column, text: short(name) }));
  if (step < NAME_STEP) {
    names = blocks.map((name, column) => ({ column, text: short(name) }))
      .filter(({ column }) => column === 0 || blocks[column] !== blocks[column - 1]);
  }
  let free = -1;
  return names.filter(({ column }) => {
    const place = column * step;
    if (place < free) return false;
    free = place + NAME_STEP;
    return true;
  });
}

// Paint everything except the cursor, which goes over a copy of this.
function paint(panel) {
  const ratio = Math.max(2, window.devicePixelRatio || 1);
  const { canvas } = panel;
  canvas.width = Math.round(panel.width * ratio);
  canvas.height = Math.round(panel.height * ratio);
  canvas.style.width = `${panel.width}px`;
  canvas.style.height = `${panel.height}px`;
  const picture = document.createElement("canvas");
  picture.width = canvas.width;
  picture.height = canvas.height;
  const context = picture.getContext("2d");
  context.putImageData(cellImage(panel, context, ratio), Math.round(LEFT * ratio), Math.round(CELLS_TOP * ratio));
  context.scale(ratio, ratio);
  paintFrames(panel, context);
  paintStrip(panel, context);
  paintNames(panel, context);
  Object.assign(panel, { picture, ratio });
  paintCursor(panel, null);
}

function cellImage(panel, context, ratio) {
  const width = Math.round((panel.width - LEFT) * ratio), height = Math.round(CELLS * ratio);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer), colour = new Uint8ClampedArray(4);
  const word = new Uint32Array(colour.buffer);
  colour[3] = 255;
  panel.sizes.forEach((size, layer) => {
    const [left, right] = columnSpan(panel, layer).map((place) => Math.round((place - LEFT) * ratio));
    for (let row = 0; row < height && size > 0; row++) {
      averageColour(panel, layer, row / height, (row + 1) / height, colour);
      pixels.fill(word[0], row * width + left, row * width + Math.min(right, width));
    }
  });
  return image;
}

// The mean colour of the units of a layer from one part of its height to another.
function averageColour(panel, layer, from, to, colour) {
  const size = panel.sizes[layer], first = Math.floor(from * size);
  const end = Math.max(first + 1, Math.floor(to * size));
  let red = 0, green = 0, blue = 0;
  for (let place = first; place < end; place++) {
    const rgb = unitColour(panel, panel.starts[layer] + unitAt(panel, layer, place));
    red += rgb[0];
    green += rgb[1];
    blue += rgb[2];
  }
  const count = end - first;
  colour[0] = red / count;
  colour[1] = green / count;
  colour[2] = blue / count;
}

function unitColour(panel, unit) {
  const colour = panel.markColours[panel.marks[unit]];
  if (colour) return colour;
  const place = panel.difference ? (panel.values[unit] / panel.top + 1) / 2 : panel.values[unit] / panel.top;
  return panel.table[Math.min(Math.max(Math.floor(256 * place), 0), 255)];
}

function unitAt(panel, layer, place) {
  return panel.order ? panel.order[layer][place] : place;
}

// The place of the cursor in its layer: null for a unit in a panel of ranks; a rank has a place in every panel.
function placeOf(panel, { layer, unit, ranked }) {
  if (unit < 0 || ranked || !(panel.order || panel.ranked)) return unit;
  return panel.ranked ? null : panel.order[layer].indexOf(unit);
}

function cursorAt(panel, layer, place) {
  return { layer, unit: place < 0 ? -1 : unitAt(panel, layer, place), ranked: Boolean(panel.ranked) };
}

function columnSpan(panel, layer) {
  const gap = panel.step >= 8 ? Math.min(4, panel.step * 0.12) : 0;
  return [LEFT + layer * panel.step + gap / 2, LEFT + (layer + 1) * panel.step - gap / 2];
}

function paintFrames(panel, context) {
  context.strokeStyle = "#8c959f";
  context.lineWidth = 0.5;
  panel.layers.forEach((_, layer) => {
    const [left, right] = columnSpan(panel, layer);
    if (panel.step >= 8) context.strokeRect(left, CELLS_TOP, right - left, CELLS);
  });
  if (panel.step < 8) context.strokeRect(LEFT, CELLS_TOP, panel.width - LEFT - 0.5, CELLS);
}

// Height of a value in the strip, whose zero is in the middle for differences.
function stripPlace(panel, value) {
  const height = Math.min(Math.max(value / panel.stripTop, -1), 1);
  return panel.difference ? STRIP_TOP + STRIP / 2 * (1 - height) : STRIP_TOP + STRIP * (1 - height);
}

function paintStrip(panel, context) {
  const zero = stripPlace(panel, 0);
  panel.means.forEach(({ mean, low, high }, layer) => {
    if (mean === null) return;
    const [left, right] = columnSpan(panel, layer), middle = (left + right) / 2;
    context.fillStyle = panel.colour;
    context.fillRect(left, Math.min(zero, stripPlace(panel, mean)), right - left, Math.abs(stripPlace(panel, mean) - zero));
    if (low === null || high === null || panel.step < 8) return;
    context.fillStyle = "#1b1f24";
    context.fillRect(middle - 0.75, stripPlace(panel, high), 1.5, Math.max(stripPlace(panel, low) - stripPlace(panel, high), 1));
  });
  context.fillStyle = "#535c66";
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of panel.difference ? [panel.stripTop, 0, -panel.stripTop] : [panel.stripTop, 0]) {
    const place = stripPlace(panel, value);
    context.fillText(axisNumber(value), LEFT - 4, place);
    context.fillRect(LEFT, place - 0.25, panel.width - LEFT, 0.5);
  }
}

function axisNumber(value) {
  const text = Math.abs(value) < 0.01 || Math.abs(value) >= 1000 ? value.toExponential(0) : value.toPrecision(2);
  return value === 0 ? "0" : String(text).replaceAll("-", "−");
}

function paintNames(panel, context) {
  context.fillStyle = "#1b1f24";
  context.font = NAME_FONT;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const { column, text } of panel.names) {
    context.save();
    context.translate(LEFT + (column + 0.5) * panel.step, CELLS_TOP + CELLS + NAMES_GAP);
    context.rotate(-Math.PI / 2);
    context.fillText(text, 0, 0);
    context.restore();
    context.fillRect(LEFT + (column + 0.5) * panel.step - 0.25, CELLS_TOP + CELLS, 0.5, NAMES_GAP - 3);
  }
}

// A cursor is a layer and a unit, or in a panel of ranks a rank; unit -1 is the mean of the layer.
function paintCursor(panel, cursor) {
  if (!panel.picture) return;
  const context = panel.canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, panel.canvas.width, panel.canvas.height);
  context.drawImage(panel.picture, 0, 0);
  if (!cursor || cursor.layer >= panel.layers.length || cursor.unit >= panel.sizes[cursor.layer]) return;
  if (placeOf(panel, cursor) === null) return;
  context.setTransform(panel.ratio, 0, 0, panel.ratio, 0, 0);
  const [left, right] = columnSpan(panel, cursor.layer);
  const { top, height } = cursorSpan(panel, cursor);
  for (const [colour, line] of [["#ffffff", 4], ["#000000", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(left - 1, top, right - left + 2, height);
  }
}

function cursorSpan(panel, cursor) {
  if (cursor.unit < 0) return { top: STRIP_TOP, height: STRIP };
  const size = panel.sizes[cursor.layer], height = Math.max(CELLS / size, 4);
  const middle = CELLS_TOP + (placeOf(panel, cursor) + 0.5) * CELLS / size;
  return { top: Math.min(Math.max(middle - height / 2, CELLS_TOP), CELLS_TOP + CELLS - height), height };
}
