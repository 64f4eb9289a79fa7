// Units: from codes to values, and from values to colours and words.

const DATA = JSON.parse(document.getElementById("data").textContent);

// As encoding.py writes them.
const OCTAVES = 32, SMALLEST = 65530, ZERO = 65531, INFINITE = 65532, CONSTANT = 65533, ROUNDING = 65534;

// In the order of figures/cells.py.
const MARKS = [null, ...Object.entries(DATA.colours.marks).map(([name, colour]) => ({ name, colour }))];
const BEYOND = 1, NOT_FINITE = 2, BOTH_ZERO = 3, BOTH_ROUNDING = 4, NO_NUMBER = 5;
const DIFFERENCE_MARKS = [
  null,
  { name: "beyond the scale", colour: null },
  { name: "not finite in one of them", colour: MARKS[NOT_FINITE].colour },
  { name: "constant in either", colour: MARKS[BOTH_ZERO].colour },
  { name: "rounding alone in either", colour: MARKS[BOTH_ROUNDING].colour },
];

const SCALE = DATA.colours.scale.map(hexToRgb), DIFFERENCE_SCALE = DATA.colours.difference.map(hexToRgb);

function hexToRgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function gradient(table) {
  const stops = table.filter((_, index) => index % 15 === 0).map((rgb) => `rgb(${rgb.join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

// Float64Array of values, and the mark of each unit that is constant or varies by rounding alone; otherwise 0.
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

// TV, SV and NV of every unit of one group of a model. NV is 1 where both are 0, and infinite where only SV is.
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

// The mark of each unit; 0 if it is within the scale.
function marksOfUnits({ nv, still }, top) {
  return Uint8Array.from(nv, (value, unit) => {
    if (still[unit]) return still[unit];
    if (Number.isNaN(value)) return NO_NUMBER;
    if (value === Infinity) return NOT_FINITE;
    return value > top ? BEYOND : 0;
  });
}

function marksOfDifferences(values, first, second, top) {
  return Uint8Array.from(values, (value, cell) => {
    const mark = [BOTH_ZERO, BOTH_ROUNDING].find((either) => either === first[cell] || either === second[cell]);
    if (mark) return mark;
    if (!Number.isFinite(value)) return NOT_FINITE;
    return Math.abs(value) > top ? BEYOND : 0;
  });
}

// For each layer its units from invariant to variant, then infinite, undefined, rounding alone and constant ones.
function sortedOrder(panel) {
  const { values, marks, starts } = panel;
  const rank = (unit) => [NOT_FINITE, NO_NUMBER, BOTH_ROUNDING, BOTH_ZERO].indexOf(marks[unit]);
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
