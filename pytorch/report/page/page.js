// The page: what is selected, and what of it is shown.

const FIELDS = ["model", "dataset", "transformation", "aggregation"];
const field = (name) => document.getElementById(name);
// What the page opens with, as far as it was measured: the picture of the README.
const START = { model: "simple_conv", dataset: "mnist", transformation: "rotation", aggregation: "mean" };
const selection = { model: "", dataset: "", transformation: "", aggregation: "", group: "all", compare: "", sort: false };

// The measurement that agrees in the field given first, if there is one, and in as many others as possible.
function nearest(wanted, first) {
  const weights = { model: 8, dataset: 4, transformation: 2, aggregation: 1, [first]: 16 };
  const score = (found) => FIELDS.reduce((sum, name) => sum + (found[name] === wanted[name] ? weights[name] : 0), 0);
  return DATA.measurements.reduce((best, found) => best && score(best) >= score(found) ? best : found, null);
}

function select(changes, first) {
  Object.assign(selection, changes);
  const measurement = nearest(selection, first);
  if (measurement) FIELDS.forEach((name) => { selection[name] = measurement[name]; });
  const trained = partOf(measurement, ""), controls = (measurement?.parts ?? []).filter((part) => part.control);
  const groups = (trained ?? controls[0])?.groups ?? ["all"];
  if (!groups.includes(selection.group)) selection.group = groups[0];
  const comparable = [...(trained || !controls.length ? [""] : []), ...controls.map((part) => part.control)];
  if (!comparable.includes(selection.compare)) selection.compare = comparable[0];
  fillSelects(groups, comparable);
  showMeasurement(measurement, trained, partOf(measurement, selection.compare || null));
  showFigures(measurement);
}

function partOf(measurement, control) {
  return measurement?.parts.find((part) => (part.control ?? "") === control) ?? null;
}

function fillSelects(groups, comparable) {
  for (const name of FIELDS) fill(name, [...new Set(DATA.measurements.map((found) => found[name]))], (value) => value);
  fill("group", groups, groupTitle);
  fill("compare", comparable, (control) => control ? `control: ${DATA.controls[control]}` : "models");
  field("sort").checked = selection.sort;
  field("selection").hidden = !DATA.measurements.length;
}

function fill(name, values, title) {
  field(name).replaceChildren(...values.map((value) => make("option", { value }, title(value))));
  field(name).value = selection[name];
}

function showMeasurement(measurement, trained, control) {
  const part = trained ?? control, { model, dataset, transformation, aggregation, group } = selection;
  field("heatmaps").hidden = !measurement;
  field("what").textContent = `${model} on ${dataset}: ${transformation}, ${aggregation}, ${groupTitle(group)}`;
  field("samples").textContent = part
    ? `${part.samples[part.groups.indexOf(group)]?.toLocaleString("en")} samples` : "";
  const panels = part ? panelsOf(drawable(trained), drawable(control), group, selection.sort) : [];
  const notice = noticeOf(trained, control, group);
  field("notice").textContent = notice;
  field("notice").hidden = !notice;
  field("how").hidden = !panels.length;
  showPanels(panels);
  showExtremes(panels);
  const parts = [trained, control].filter(Boolean);
  field("provenance").hidden = !parts.length;
  field("provenance").replaceChildren(field("provenance").firstElementChild, ...parts.map(provenanceList));
}

function drawable(part) {
  return part && !part.omitted ? part : null;
}

function noticeOf(trained, control, group) {
  const part = trained ?? control;
  if (!part) return "These models have not been measured.";
  if (part.omitted) return `${part.omitted} The figures below show the result.`;
  if (control && !control.groups.includes(group)) return "The page has controls over all samples and stratified, not class by class.";
  return control?.omitted ?? "";
}

function provenanceList(part) {
  const rows = part.provenance.flatMap(([head, text]) => [make("dt", {}, head), make("dd", {}, text)]);
  return make("dl", {}, ...rows);
}

// Show the figures that agree with the selection; a figure that names no model is of all models.
function showFigures(measurement) {
  const wanted = { ...selection, control: selection.compare };
  const agrees = (of) => [...FIELDS, "group", "control"].every((name) => (of[name] ?? "") === "" || of[name] === wanted[name]);
  const found = DATA.figures.filter(({ of }) => !measurement || agrees(of));
  field("figures").replaceChildren(...(found.length
    ? found.map((figure) => figureElement(figure, measurement)) : [make("p", {}, "There are none for this selection.")]));
}

function figureElement(figure, measurement) {
  const { title, caption, command, of, image, width, height } = figure;
  const picture = make("img", { src: `data:image/png;base64,${image}`, alt: title, width, height });
  const button = make("button", { type: "button", title: "full width" }, picture);
  button.setAttribute("aria-pressed", "false");
  const rows = [make("dt", {}, "drawn by"), make("dd", {}, make("code", {}, command))];
  const part = of.model && partOf(measurement, of.control ?? "");
  const element = make("figure", {}, button, make("figcaption", {}, make("strong", {}, title), caption),
    make("details", {}, make("summary", {}, "Where it comes from"), make("dl", {}, ...rows), part ? provenanceList(part) : ""));
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(element.classList.toggle("wide")));
  });
  return element;
}

// A click on a head sorts the rows, empty cells last; the third click restores the order. The field filters rows.
function prepareTables() {
  for (const table of document.querySelectorAll(".table table")) {
    const heads = [...table.querySelectorAll("th")], original = [...table.tBodies[0].rows];
    heads.forEach((head, column) => {
      head.setAttribute("aria-sort", "none");
      head.firstElementChild.addEventListener("click", () => {
        const order = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
        heads.forEach((other) => other.setAttribute("aria-sort", other === head ? order : "none"));
        if (order === "none") table.tBodies[0].append(...original);
        else sortRows(table.tBodies[0], column, order === "ascending" ? 1 : -1);
      });
    });
  }
  field("filter-label").hidden = !document.querySelector(".table tbody tr");
  field("filter").addEventListener("input", filterRows);
}

function sortRows(body, column, sign) {
  const key = (row) => {
    const cell = row.cells[column];
    if (!cell.classList.contains("number")) return cell.textContent || null;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? (a > b) - (a < b) : String(a).localeCompare(b, "en", { numeric: true }));
  };
  const rows = [...body.rows].map((row) => ({ row, key: key(row) }));
  body.append(...rows.sort((a, b) => compare(a.key, b.key)).map(({ row }) => row));
}

function filterRows() {
  const words = field("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const table of document.querySelectorAll(".table")) {
    const rows = [...table.querySelectorAll("tbody tr")], title = table.querySelector("h3").textContent;
    const kept = rows.filter((row) => {
      const text = [title, ...[...row.cells].map((cell) => cell.textContent)].join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      return !row.hidden;
    });
    table.querySelector(".shown").textContent = words.length ? `${kept.length} of ${rows.length} rows` : "";
    if (words.length) table.querySelector("details").open = kept.length > 0;
  }
}

// The address keeps the selection, so that a view can be linked to.
function selectFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  const start = nearest(START, "model");
  const defaults = { ...start, group: "all", compare: "" };
  const changes = Object.fromEntries([...FIELDS, "group", "compare"].map((name) => [name, found.get(name) ?? defaults[name] ?? ""]));
  select({ ...changes, sort: found.size ? found.get("sort") === "1" : FIELDS.every((name) => start?.[name] === START[name]) }, "model");
}

function keepInAddress() {
  const { sort, ...texts } = selection;
  history.replaceState(null, "", `#${new URLSearchParams({ ...texts, ...(sort ? { sort: "1" } : {}) })}`);
}

function start() {
  document.body.append(tooltip);
  for (const name of [...FIELDS, "group", "compare", "sort"]) {
    field(name).addEventListener("change", () => {
      select({ [name]: name === "sort" ? field(name).checked : field(name).value }, name);
      keepInAddress();
    });
  }
  prepareTables();
  selectFromAddress();
  window.addEventListener("hashchange", selectFromAddress);
  window.addEventListener("beforeprint", () => document.querySelectorAll(".table details").forEach((each) => { each.open = true; }));
  window.addEventListener("scroll", () => { tooltip.hidden = true; });
  new ResizeObserver(resizePanels).observe(field("panels"));
}

start();
