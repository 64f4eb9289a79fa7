// Units: from codes to values, and from values to colours and words.

// As encoding.py writes them.
const OCTAVES = 32, SMALLEST = 65530, ZERO = 65531, INFINITE = 65532, CONSTANT = 65533, ROUNDING = 65534;

const MARKS = [
  null,
  { name: "above the scale", colour: "#E31A1C" },
  { name: "x/0 (infinite)", colour: "#000000" },
  { name: "0/0 (constant)", colour: "#BDBDBD" },
  { name: "rounding alone", colour: "#784858" },
  { name: "undefined", colour: "#FFFFFF" },
];
const DIFFERENCE_MARKS = [
  null,
  { name: "beyond the scale", colour: null },
  { name: "not finite in one of them", colour: "#000000" },
  { name: "constant in either", colour: "#BDBDBD" },
  { name: "rounding alone in either", colour: "#784858" },
];
const BEYOND = 1, NOT_FINITE = 2, BOTH_ZERO = 3, BOTH_ROUNDING = 4, NO_NUMBER = 5;

const VIRIDIS = colourTable(
  "440154 470d60 48186a 482374 472e7c 453882 424186 3e4a89 3a548c 365d8d 32658e 2e6d8e 2b758e 287d8e 25848e 228c8d " +
  "1f948c 1e9c89 20a386 25ab82 2eb37c 3aba76 48c16e 58c765 6ccd5a 7fd34e 93d741 a8db34 c0df25 d5e21a eae51a fde725");
// Blue of RdBu and orange of PuOr: told apart by colour-blind readers too.
const BLUE_WHITE_ORANGE = colourTable(
  "053061 2065ab 4393c3 90c4dd d1e5f0 f7f7f7 fee0b6 fcb761 e08214 b25706 7f3b08");

function colourTable(anchors) {
  const rgb = anchors.split(" ").map(hexToRgb);
  return Array.from({ length: 256 }, (_, index) => {
    const place = index / 255 * (rgb.length - 1);
    const from = Math.min(Math.floor(place), rgb.length - 2);
    return rgb[from].map((value, channel) => value + (place - from) * (rgb[from + 1][channel] - value));
  });
}

function hexToRgb(hex) {
  return [0, 2, 4].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function gradient(table) {
  const stops = table.filter((_, index) => index % 15 === 0).map((rgb) => `rgb(${rgb.map(Math.round).join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

// Float64Array of values, and the marks of those that stand for 0/0 or for rounding alone; 0: of no other.
function decode({ tops, codes }, sizes) {
  const bytes = atob(codes), top = sizes.flatMap((size, layer) => Array(size).fill(tops[layer]));
  const values = new Float64Array(bytes.length / 2), still = new Uint8Array(values.length);
  for (let unit = 0; unit < values.length; unit++) {
    const code = bytes.charCodeAt(2 * unit) | bytes.charCodeAt(2 * unit + 1) << 8;
    if (code <= SMALLEST) values[unit] = Math.max(top[unit] * 2 ** (-code * OCTAVES / SMALLEST), Number.MIN_VALUE);
    else if (code === ZERO) values[unit] = 0;
    else if (code === INFINITE) values[unit] = Infinity;
    else values[unit] = code === CONSTANT ? 1 : NaN;
    still[unit] = code === CONSTANT ? BOTH_ZERO : code === ROUNDING ? BOTH_ROUNDING : 0;
  }
  return { values, still };
}

const decoded = new WeakMap();

// TV, SV and NV of every unit of one group of a model: NV is 1 where both are 0, and infinite where SV alone is.
function unitsOf(group, sizes) {
  if (!decoded.has(group)) decoded.set(group, group.nv ? stratifiedUnits(group, sizes) : ordinaryUnits(group, sizes));
  return decoded.get(group);
}

function stratifiedUnits(group, sizes) {
  const { values, still } = decode(group.nv, sizes);
  return { nv: values, still };
}

function ordinaryUnits(group, sizes) {
  const { values: tv, still: rounding } = decode(group.tv, sizes), sv = decode(group.sv, sizes).values;
  const still = rounding.map((mark, unit) => tv[unit] === 0 && sv[unit] === 0 ? BOTH_ZERO : mark);
  return { tv, sv, still, nv: tv.map((value, unit) => still[unit] === BOTH_ZERO ? 1 : value / sv[unit]) };
}

// Which mark each unit bears; 0: none, the scale holds it.
function marksOfUnits({ nv, still }, top) {
  return Uint8Array.from(nv, (value, unit) => {
    if (still[unit]) return still[unit];
    if (Number.isNaN(value)) return NO_NUMBER;
    if (value === Infinity) return NOT_FINITE;
    return value > top ? BEYOND : 0;
  });
}

function marksOfDifferences(values, first, second, top) {
  return Uint8Array.from(values, (value, unit) => {
    const mark = [BOTH_ZERO, BOTH_ROUNDING].find((either) => either === first.still[unit] || either === second.still[unit]);
    if (mark) return mark;
    if (!Number.isFinite(value)) return NOT_FINITE;
    return Math.abs(value) > top ? BEYOND : 0;
  });
}

// For each layer its units from invariant to variant, then the infinite, the constant, those of rounding alone and the
// undefined ones.
function sortedOrder(panel) {
  const { values, marks, starts } = panel;
  const rank = (unit) => marks[unit] > BEYOND ? marks[unit] : 0;
  return panel.sizes.map((size, layer) => {
    const units = Array.from({ length: size }, (_, index) => index), start = starts[layer];
    return units.sort((a, b) => rank(start + a) - rank(start + b) || (values[start + a] - values[start + b]) || a - b);
  });
}

// Three significant digits.
function number(value) {
  if (value === null || Number.isNaN(value)) return "undefined";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size < 1e-3 || size >= 1e6 ? value.toExponential(2)
    : size >= 999.5 ? value.toFixed(0) : value.toPrecision(3);
  return text.replaceAll("-", "−");
}

function estimate(mean, error) {
  if (mean === null) return "undefined";
  if (error === null) return mean.toFixed(3);
  const digits = error > 0 ? Math.min(Math.max(3, Math.ceil(-Math.log10(error))), 6) : 3;
  return `${mean.toFixed(digits)} ± ${error.toFixed(digits)}`;
}

function signed(value) {
  return value > 0 ? `+${number(value)}` : number(value);
}

function groupTitle(group) {
  return group === "all" ? "all samples" : group === "stratified" ? "stratified by class" : `class ${group}`;
}

// An element with properties and children; text goes in as text, whatever it is.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
