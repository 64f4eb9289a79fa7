// The panels of a selection, and what they say of the cell under the pointer or the cursor.

const MODEL_COLOURS = { unrotated: "#0072B2", rotated: "#D55E00", untrained: "#777777" };
const CONTROL_TITLES = { "random-weights": "before training", shuffled: "samples shuffled" };
const LONG = 70;

const shown = { panels: [], cursor: null, told: null };

// A panel of one model: what its cells are, and how to tell of them.
function modelPanel(part, model, group, scale) {
  const found = model.groups[part.groups.indexOf(group)], units = unitsOf(found, part.sizes);
  return complete({
    part, units, found, name: model.name,
    title: `${model.name} model${shuffledTitle(part)}`,
    heading: `global mean ${estimate(found.mean, found.error)}`,
    colour: MODEL_COLOURS[model.name],
    values: units.nv, marks: marksOfUnits(units, scale.top), kinds: MARKS, table: VIRIDIS, top: scale.top,
    means: found.means.map((mean, layer) => ({ mean, low: found.low[layer], high: found.high[layer] })),
    barTitle: "NV", ends: ["0", `≥ ${number(scale.top)}`],
  });
}

// A panel of NV of one model less that of another.
function differencePanel(first, second, scale) {
  const values = first.values.map((value, unit) => value - second.values[unit]), top = scale.differenceTop ?? 1;
  const both = [first.found, second.found], means = both.map(({ mean }) => mean);
  return complete({
    part: first.part, first, second, difference: true,
    title: `difference, ${first.name} − ${second.name}${shuffledTitle(first.part)}`,
    heading: `of the global means ${means.includes(null) ? "undefined" : signed(means[0] - means[1])}`,
    colour: "#5f6b77",
    values, marks: marksOfDifferences(values, first.units, second.units, top), kinds: DIFFERENCE_MARKS,
    table: BLUE_WHITE_ORANGE, top,
    means: first.means.map(({ mean }, layer) => ({
      mean: mean === null || second.means[layer].mean === null ? null : mean - second.means[layer].mean,
      low: null, high: null,
    })),
    barTitle: "difference of NV", ends: [`≤ ${number(-top)}`, `≥ ${number(top)}`],
  });
}

function shuffledTitle(part) {
  return part.control === "shuffled" ? ", samples shuffled" : "";
}

function complete(panel) {
  panel.layers = panel.part.layers;
  panel.sizes = panel.part.sizes;
  let end = 0;
  panel.starts = panel.sizes.map((size) => (end += size) - size);
  panel.markColours = panel.kinds.map((kind) => kind && kind.colour && hexToRgb(kind.colour.slice(1)));
  return panel;
}

function sameUnits(one, other) {
  return one.layers.length === other.layers.length
    && one.layers.every((name, layer) => name === other.layers[layer] && one.sizes[layer] === other.sizes[layer]);
}

// The panels of a measurement and, under them, those of a control of it, all on the scale of the first.
function panelsOf(trained, control, group) {
  const base = trained ?? control;
  const panels = trained && trained.groups.includes(group) ? partPanels(trained, group, base) : [];
  if (!control || !control.groups.includes(group)) return panels;
  const others = partPanels(control, group, base);
  if (others.length > 1 || !panels.length || !sameUnits(trained, control)) return [...panels, ...others];
  return [...panels, ...others, ...panels.slice(0, 2).map((panel) => differencePanel(panel, others[0], base))];
}

function partPanels(part, group, scale) {
  const panels = part.models.map((model) => modelPanel(part, model, group, scale));
  return panels.length === 2 ? [...panels, differencePanel(panels[1], panels[0], scale)] : panels;
}

function showPanels(panels, sorted) {
  const box = document.getElementById("panels");
  const ends = (panel) => panel.means.flatMap(({ mean, high }) => [Math.abs(mean ?? 0), high ?? 0]);
  for (const kind of [true, false]) {
    const alike = panels.filter((panel) => Boolean(panel.difference) === kind);
    const top = Math.max(0, ...alike.flatMap(ends)) || 1;
    alike.forEach((panel) => { panel.stripTop = top; });
  }
  for (const panel of panels) {
    panel.order = sorted ? sortedOrder(panel) : null;
    if (sorted && panel.difference) panel.title += ", differences of units, sorted";
  }
  Object.assign(shown, { panels, cursor: null, told: null });
  tooltip.hidden = true;
  box.classList.toggle("long", panels.some((panel) => panel.layers.length > LONG));
  box.replaceChildren(...panels.map(panelElement));
  tell(null);
  resizePanels();
}

function panelElement(panel) {
  panel.canvas = make("canvas", { tabIndex: 0 });
  panel.canvas.setAttribute("role", "application");
  panel.canvas.setAttribute("aria-roledescription", "heatmap");
  panel.canvas.setAttribute("aria-label", `${panel.title}, ${panel.heading}. Arrow keys move from unit to unit.`);
  listen(panel);
  panel.box = make("div", { className: "box" }, panel.canvas);
  const bar = make("span"), heading = make("h3", {}, panel.title);
  bar.style.background = gradient(panel.table);
  heading.style.setProperty("--colour", panel.colour);
  const [low, high] = panel.ends;
  return make("section", { className: "panel" }, heading, make("p", {}, panel.heading), panel.box,
    barElement(panel, low, bar, high),
    legendElement(panel));
}

function barElement(panel, low, bar, high) {
  return make("div", { className: "bar" }, `${panel.barTitle} ${low}`, bar, high);
}

function legendElement(panel) {
  const counts = panel.kinds.map((_, mark) => panel.marks.reduce((count, other) => count + (other === mark), 0));
  const entries = panel.kinds.flatMap((kind, mark) => {
    if (!kind || !counts[mark]) return [];
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = kind.colour ?? gradient([panel.table[0], panel.table[255]].flatMap((c) => Array(15).fill(c)));
    return make("li", {}, swatch, `${kind.name}: ${counts[mark].toLocaleString("en")}`);
  });
  return make("ul", { className: "legend" }, ...entries);
}

function resizePanels() {
  for (const panel of shown.panels) {
    const width = panel.box.clientWidth - 8;
    if (width <= 0 || width === panel.available) continue;
    panel.available = width;
    layOut(panel, width);
    paint(panel);
    paintCursor(panel, shown.cursor);
  }
}

// What a cell is, in words.
function describe(panel, { layer, unit }) {
  const name = panel.layers[layer];
  if (unit < 0) return describeLayer(panel, layer);
  const place = panel.starts[layer] + unit, head = `layer ${name}, unit ${unit}`;
  if (panel.marks[place] === BOTH_ROUNDING) return `${head}\n${panel.kinds[BOTH_ROUNDING].name}: NV says nothing`;
  if (panel.difference) {
    const [minuend, subtrahend] = [panel.first.values[place], panel.second.values[place]].map(number);
    return `${head}\nNV ${minuend} − ${subtrahend} = ${signed(panel.values[place])}`;
  }
  const { tv, sv, nv } = panel.units, mark = panel.marks[place];
  const why = { [NOT_FINITE]: " (x/0)", [BOTH_ZERO]: " by definition (0/0, constant)", [BEYOND]: " (above the scale)" }[mark] ?? "";
  const normalized = `NV ${number(nv[place])}${why}`;
  return tv ? `${head}\nTV ${number(tv[place])}, SV ${number(sv[place])}, ${normalized}` : `${head}\n${normalized}, mean over classes`;
}

function describeLayer(panel, layer) {
  const { mean, low, high } = panel.means[layer], count = panel.sizes[layer];
  const head = `layer ${panel.layers[layer]}, mean of ${count} ${count === 1 ? "unit" : "units"}`;
  if (panel.difference) return `${head}\ndifference of NV ${mean === null ? "undefined" : signed(mean)}`;
  const interval = low === null || high === null ? "" : ` (95 %: ${number(low)} to ${number(high)})`;
  return `${head}\nNV ${number(mean)}${interval}`;
}

function tell(panel) {
  const text = panel ? describe(panel, shown.cursor) : "";
  document.getElementById("readout").textContent = text
    ? `${panel.title}: ${text}` : shown.panels.length ? "Point at a cell, or tab to a heatmap and use the arrow keys." : "";
  shown.panels.forEach((other) => paintCursor(other, panel ? shown.cursor : null));
  return text;
}
