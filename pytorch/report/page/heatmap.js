// The panels of a selection, and the text for the cell under the pointer or the cursor.

const LONG = 70, EXTREMES = 5;

const shown = { panels: [], cursor: null, active: null };

function modelPanel(part, model, group, scale, sorted) {
  const found = model.groups[part.groups.indexOf(group)], units = unitsOf(found, part.sizes);
  const panel = complete({
    part, units, found, name: model.name,
    title: `${model.title}${shuffledTitle(part)}`,
    heading: `global mean${DATA.varying ? " of units that vary" : ""} ${estimate(found.mean, found.error)}`,
    colour: model.colour,
    values: units.nv, marks: marksOfUnits(units, scale.top), kinds: MARKS, table: SCALE, top: scale.top,
    means: found.means.map((mean, layer) => ({ mean, low: found.low[layer], high: found.high[layer] })),
    barTitle: "NV", ends: ["0", `≥ ${number(scale.top)}`],
  });
  return { ...panel, order: sorted ? sortedOrder(panel) : null };
}

// NV of one model minus that of another: of equal units or, where these are sorted, of equal ranks.
function differencePanel(first, second, scale) {
  const means = [first, second].map(({ found }) => found.mean), ranked = first.order !== null;
  const [minuend, subtrahend] = [first, second].map(inPlace), top = scale.differenceTop ?? 1;
  const values = minuend.values.map((value, cell) => value - subtrahend.values[cell]);
  return complete({
    part: first.part, first, second, difference: true, ranked,
    title: `${first.name} − ${second.name}${shuffledTitle(first.part)}${ranked ? " by rank" : ""} (blue: less)`,
    heading: `difference of the global means${DATA.varying ? " of units that vary" : ""} ${means.includes(null) ? "undefined" : signed(means[0] - means[1])}`,
    colour: "#555555",
    values, marks: marksOfDifferences(values, minuend.still, subtrahend.still, top), kinds: DIFFERENCE_MARKS,
    table: DIFFERENCE_SCALE, top,
    means: first.means.map(({ mean }, layer) => ({
      mean: mean === null || second.means[layer].mean === null ? null : mean - second.means[layer].mean,
      low: null, high: null,
    })),
    barTitle: "difference of NV", ends: [`≤ ${number(-top)}`, `≥ ${number(top)}`],
  });
}

// Values and marks of a panel in the order of its cells.
function inPlace(panel) {
  const { values, units: { still } } = panel;
  if (!panel.order) return { values, still };
  const units = panel.order.flatMap((order, layer) => order.map((unit) => panel.starts[layer] + unit));
  return { values: Float64Array.from(units, (unit) => values[unit]), still: Uint8Array.from(units, (unit) => still[unit]) };
}

function shuffledTitle(part) {
  return part.control === "shuffled" ? ", samples shuffled" : "";
}

function complete(panel) {
  panel.layers = panel.part.layers;
  panel.sizes = panel.part.sizes;
  let end = 0;
  panel.starts = panel.sizes.map((size) => (end += size) - size);
  panel.markColours = panel.kinds.map((kind) => kind && kind.colour && hexToRgb(kind.colour));
  return panel;
}

function sameUnits(one, other) {
  return one.layers.length === other.layers.length
    && one.layers.every((name, layer) => name === other.layers[layer] && one.sizes[layer] === other.sizes[layer]);
}

// The panels of a measurement and below them those of its control, all on the scale of the first.
function panelsOf(trained, control, group, sorted) {
  const base = trained ?? control;
  const panels = trained && trained.groups.includes(group) ? partPanels(trained, group, base, sorted) : [];
  if (!control || !control.groups.includes(group)) return panels;
  const others = partPanels(control, group, base, sorted);
  if (others.length > 1 || !panels.length || !sameUnits(trained, control)) return [...panels, ...others];
  return [...panels, ...others, ...panels.slice(0, 2).map((panel) => differencePanel(panel, others[0], base))];
}

function partPanels(part, group, scale, sorted) {
  const panels = part.models.map((model) => modelPanel(part, model, group, scale, sorted));
  return panels.length === 2 ? [...panels, differencePanel(panels[1], panels[0], scale)] : panels;
}

function showPanels(panels) {
  const box = document.getElementById("panels");
  const ends = (panel) => panel.means.flatMap(({ mean, high }) => [Math.abs(mean ?? 0), high ?? 0]);
  for (const kind of [true, false]) {
    const alike = panels.filter((panel) => Boolean(panel.difference) === kind);
    const top = Math.max(0, ...alike.flatMap(ends)) || 1;
    alike.forEach((panel) => { panel.stripTop = top; });
  }
  Object.assign(shown, { panels, cursor: null, active: null });
  tooltip.hidden = true;
  box.classList.toggle("long", panels.some((panel) => panel.layers.length > LONG));
  box.replaceChildren(...panels.map(panelElement));
  announce(null);
  resizePanels();
}

function panelElement(panel) {
  panel.canvas = make("canvas", { tabIndex: 0 });
  panel.canvas.setAttribute("role", "application");
  panel.canvas.setAttribute("aria-roledescription", "heatmap");
  panel.canvas.setAttribute("aria-label", `${panel.title}, ${panel.heading}. Arrow keys move from unit to unit.`);
  listen(panel);
  panel.box = make("div", { className: "box" }, panel.canvas);
  const bar = make("span");
  bar.style.background = gradient(panel.table);
  const [low, high] = panel.ends;
  return make("section", { className: "panel" }, colouredHeading(panel), make("p", {}, panel.heading), panel.box,
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

// The text for a cell.
function describe(panel, { layer, unit }) {
  const name = panel.layers[layer];
  if (unit < 0) return describeLayer(panel, layer);
  const place = panel.starts[layer] + unit, head = `layer ${name}, ${panel.ranked ? "rank" : "unit"} ${unit}`;
  if (panel.marks[place] === BOTH_ROUNDING) return `${head}\n${panel.kinds[BOTH_ROUNDING].name}: NV means nothing`;
  if (panel.difference) {
    const [minuend, subtrahend] = [panel.first, panel.second].map((model) => describeTerm(model, layer, unit, panel.ranked));
    return `${head}\nNV ${minuend} − ${subtrahend} = ${signed(panel.values[place])}`;
  }
  const { tv, sv, nv } = panel.units, mark = panel.marks[place];
  const why = { [NOT_FINITE]: " (x/0)", [BOTH_ZERO]: " by definition (0/0, constant)", [BEYOND]: " (above the scale)" }[mark] ?? "";
  const normalized = `NV ${number(nv[place])}${why}`;
  return tv ? `${head}\nTV ${number(tv[place])}, SV ${number(sv[place])}, ${normalized}` : `${head}\n${normalized}, mean over classes`;
}

// A term of a difference; with ranks its unit is another in each model.
function describeTerm(panel, layer, place, ranked) {
  const unit = unitAt(panel, layer, place), value = number(panel.values[panel.starts[layer] + unit]);
  return ranked ? `${value} (unit ${unit})` : value;
}

function describeLayer(panel, layer) {
  const { mean, low, high } = panel.means[layer];
  const head = `layer ${panel.layers[layer]}, mean of ${unitsInMean(panel, layer)}`;
  if (panel.difference) return `${head}\ndifference of NV ${mean === null ? "undefined" : signed(mean)}`;
  const interval = low === null || high === null ? "" : ` (95 %: ${number(low)} to ${number(high)})`;
  return `${head}\nNV ${number(mean)}${interval}`;
}

// Which units a layer mean is over; those of a difference are over other units in each model.
function unitsInMean(panel, layer) {
  const size = panel.sizes[layer], start = panel.starts[layer], count = `${size} ${size === 1 ? "unit" : "units"}`;
  if (!DATA.varying) return count;
  if (panel.difference) return "units that vary";
  const still = panel.units.still.slice(start, start + size).filter(Boolean).length;
  return still ? `${size - still} of ${count}, which vary` : count;
}

// The layers with the smallest and the largest means of each model; no layer is in both lists.
function showExtremes(panels) {
  const models = panels.filter((panel) => !panel.difference);
  document.getElementById("extremes").hidden = !models.length;
  document.getElementById("extreme-layers").replaceChildren(...models.map((panel) => {
    const layers = panel.layers.map((_, layer) => layer).filter((layer) => panel.means[layer].mean !== null);
    layers.sort((a, b) => panel.means[a].mean - panel.means[b].mean);
    const most = layers.slice(0, Math.min(EXTREMES, Math.ceil(layers.length / 2)));
    const least = layers.slice(most.length).reverse().slice(0, EXTREMES);
    return make("section", { className: "extreme" }, colouredHeading(panel),
      ...[["most invariant", most], ["least invariant", least]].map(([title, listed]) =>
        make("div", {}, make("h4", {}, title), make("ol", {}, ...listed.map((layer) => make("li", {}, describeExtreme(panel, layer)))))));
  }));
}

function describeExtreme(panel, layer) {
  return `${panel.layers[layer]}: ${describeLayer(panel, layer).split("\n")[1]}`;
}

function colouredHeading(panel) {
  const heading = make("h3", {}, panel.title);
  heading.style.setProperty("--colour", panel.colour);
  return heading;
}

// Show the text for the cursor, which the given panel has; null: none has it.
function announce(panel) {
  const text = panel ? describe(panel, shown.cursor) : "";
  document.getElementById("readout").textContent = text
    ? `${panel.title}: ${text}` : shown.panels.length ? "Point at a cell, or tab to a heatmap and use the arrow keys." : "";
  shown.panels.forEach((other) => paintCursor(other, panel ? shown.cursor : null));
  return text;
}
