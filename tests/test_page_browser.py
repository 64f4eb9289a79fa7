"""The page in a browser: it shows the numbers that Python computes, to pointers, keys and narrow screens."""

import itertools
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from builders import MARKUP, drawn_figure, errors, of_layers, pair_of, result
from matplotlib import colormaps
from matplotlib.colors import Normalize, to_rgb

from pytorch.figures import pair_scales
from pytorch.figures.cells import MARKS, ROUNDING, differences, layer_cells, sorted_cells
from pytorch.figures.style import DIFFERENCE_COLOURS
from pytorch.report.page import write_page
from pytorch.report.table import Estimate, Table

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

LEFT, CELLS_TOP, CELLS = 30, 60, 320
"""Of the canvas; see panel.js."""


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, tmp_path):
    """Open pages and see at the end that none of them complained or asked for anything but itself."""
    contexts, faults = [], []

    def open_page(pairs, drawn=(), tables=(), width=1400, height=900, address="", varying=False, **options):
        path = tmp_path / "index.html"
        write_page(path, pairs, drawn, tables, "python plot_variances_models.py", varying=varying)
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        allowed = (path.as_uri(), "data:")
        page.on("request", lambda request: request.url.startswith(allowed) or faults.append(request.url))
        page.goto(path.as_uri() + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def place(page, panel, layer, layers, part):
    """Where a layer stands in a panel, at a part of its height, on the screen."""
    canvas = page.locator("canvas").nth(panel)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    step = (box["width"] - LEFT) / layers
    return SimpleNamespace(x=box["x"] + LEFT + (layer + 0.5) * step, y=box["y"] + CELLS_TOP + part * CELLS)


def hover(page, *where):
    point = place(page, *where)
    page.mouse.move(point.x, point.y)
    return page.locator("#readout").text_content()


def headings(page):
    return page.locator(".panel h3").all_text_contents()


def options(page, name):
    return page.locator(f"#{name} option").all_text_contents()


def test_hovering_tells_the_layer_the_unit_and_its_values(opened):
    pair = pair_of(of_layers([5, 8, 3]), of_layers([5, 8, 3]))
    page = opened([pair])
    found = pair.results["rotated"]
    for layer, (name, values) in enumerate(found.normalized_variance().items()):
        for unit, value in enumerate(values):
            shown = hover(page, 1, layer, 3, (unit + 0.5) / len(values))
            tv, sv = found.transformation_variance()[name][unit], found.sample_variance()[name][unit]
            told, *numbers = re.split(r"\n?,? ?[TSN]V ", shown)
            assert told == f"rotated model: layer {name}, unit {unit}"
            assert all(len(number.replace("0.", "").replace(".", "").lstrip("0")) == 3 for number in numbers)
            # Half of the third digit, and what the encoding leaves of two values.
            np.testing.assert_allclose([float(number) for number in numbers], [tv, sv, value], rtol=5e-3 + 4e-4)
    assert page.locator("#tooltip").text_content() == shown.removeprefix("rotated model: ")
    page.mouse.move(5, 5)
    assert page.locator("#tooltip").is_hidden()


def test_marks_are_told_and_counted(opened):
    """The tv and sv of a rotated model: a quarter, 0/0, x/0, and 5/4."""
    page = opened([pair_of()])
    assert hover(page, 0, 0, 2, 0.75).endswith("unit 1\nTV 0, SV 0, NV 1.00 by definition (0/0, constant)")
    assert hover(page, 0, 1, 2, 0.25).endswith("layer linear, unit 0\nTV 1.00, SV 0, NV ∞ (x/0)")
    assert hover(page, 2, 0, 2, 0.25).endswith("NV 0.125 − 0.500 = −0.375")
    counted = page.locator(".legend").all_text_contents()
    assert counted[1] == "x/0 (infinite): 10/0 (constant): 1"
    assert counted[2].endswith("not finite in one of them: 1constant in either: 1")
    assert hover(page, 0, 0, 2, -0.1).endswith("layer conv, mean of 2 units\nNV 0.750 (95 %: 0.690 to 0.808)")
    page.select_option("#group", "stratified")
    assert hover(page, 0, 0, 2, 0.25).endswith("unit 0\nNV 2.00, mean over classes")
    page.select_option("#group", "bee")
    assert hover(page, 0, 0, 2, 0.25).endswith("TV 1.00, SV undefined, NV undefined")
    assert page.locator(".legend").first.text_content() == "undefined: 4"


def test_means_without_units_that_never_vary_are_told(opened):
    page = opened([pair_of()], varying=True)
    assert hover(page, 0, 0, 2, -0.1).startswith(
        "unrotated model: layer conv, mean of 1 of 2 units, which vary\nNV 0.500"
    )
    assert "layer linear, mean of 2 units\nNV 3.00" in hover(page, 0, 1, 2, -0.1)
    assert hover(page, 2, 0, 2, -0.1).endswith("layer conv, mean of units that vary\ndifference of NV −0.375")
    assert page.locator(".panel p").first.text_content().startswith("global mean of units that vary 1.75")
    assert "means on this page leave them out" in page.locator("#how").text_content()


def test_units_of_rounding_alone_are_told_and_counted(opened):
    """Of the last two units of the unrotated model TV and SV are, over all samples and in each class."""
    page = opened([pair_of(unrotated=result(rounding=np.array([0.0, 0.0, 1.0, 3.0])))])
    for group in ("all", "stratified"):
        page.select_option("#group", group)
        assert hover(page, 0, 1, 2, 0.25).endswith("layer linear, unit 0\nrounding alone: NV means nothing")
        assert hover(page, 2, 1, 2, 0.75).endswith("layer linear, unit 1\nrounding alone in either: NV means nothing")
        counted = page.locator(".legend").all_text_contents()
        assert counted[0].endswith("0/0 (constant): 1rounding alone: 2")
        assert counted[2].endswith("constant in either: 1rounding alone in either: 2")
    script = "canvas => unitColour(shown.panels[0], 2).map(Math.round)"
    assert page.locator("canvas").first.evaluate(script) == [0x78, 0x48, 0x58]


def test_colours_are_those_of_values_and_marks(opened):
    page = opened([pair_of()])
    script = """(canvas, points) => {
        const { width, height } = canvas, image = canvas.getContext("2d").getImageData(0, 0, width, height).data;
        return points.map(([column, part]) => {
            const ratio = width / canvas.clientWidth, step = (canvas.clientWidth - LEFT) / 2;
            const x = Math.round((LEFT + (column + 0.5) * step) * ratio);
            const y = Math.round((CELLS_TOP + part * CELLS) * ratio);
            return [...image.slice(4 * (y * width + x), 4 * (y * width + x) + 3)];
        });
    }"""
    constant, infinite = page.locator("canvas").first.evaluate(script, [[0, 0.75], [1, 0.25]])
    assert (constant, infinite) == ([0xBD] * 3, [0] * 3)
    red, _, blue = page.locator("canvas").nth(2).evaluate(script, [[0, 0.25]])[0]
    assert blue > red  # the rotated model varies less


def test_the_keyboard_moves_the_cursor(opened):
    page = opened([pair_of(of_layers([5, 8, 3]), of_layers([5, 8, 3]))])
    page.locator("canvas").first.focus()
    for key, expected in (
        ("ArrowDown", "layer block0.layer0, unit 0"),
        ("ArrowDown", "layer block0.layer0, unit 1"),
        ("End", "layer block0.layer0, unit 4"),
        ("ArrowDown", "layer block0.layer0, unit 4"),
        ("ArrowRight", "layer block0.layer1, unit 7"),
        ("Home", "layer block0.layer1, unit 0"),
        ("ArrowUp", "layer block0.layer1, mean of 8 units"),
        ("ArrowLeft", "layer block0.layer0, mean of 5 units"),
        ("PageDown", "layer block0.layer0, unit 4"),
    ):
        page.keyboard.press(key)
        assert expected in page.locator("#readout").text_content()
    page.keyboard.press("Escape")
    assert "unit 4" not in page.locator("#readout").text_content()


def test_sorting_goes_from_invariant_to_variant(opened):
    found = of_layers([6, 2])
    page = opened([pair_of(found, found)])
    page.check("#sort")
    values = found.normalized_variance()["block0.layer0"]
    for position, unit in enumerate(np.argsort(values)):
        assert f"layer block0.layer0, unit {unit}\n" in hover(page, 0, 0, 2, (position + 0.5) / 6)


def test_sorted_units_differ_by_rank_as_in_the_figures(opened):
    """The cells of the difference are those of figures/cells.py, and so are their colours."""
    first, last = of_layers([6, 2]), of_layers([6, 2], rounding=np.array([0, 0, 9, 0, 0, 0, 0, 0.0]))
    pair = pair_of(first, replace(last, tv_all=last.tv_all[::-1].copy()))
    page = opened([pair])
    page.check("#sort")
    assert headings(page)[2] == "rotated − unrotated by rank (blue: less)"
    unrotated, rotated = (sorted_cells(layer_cells(found, "all")) for found in pair.results.values())
    shown = page.evaluate("[...shown.panels[2].values.keys()].map((cell) => unitColour(shown.panels[2], cell))")
    expected, place = differences(unrotated, rotated), 0
    scale = Normalize(-pair_scales(pair).difference, pair_scales(pair).difference)
    for layer, (values, (_, marks)) in enumerate(zip(expected, rotated, strict=True)):
        for rank, value in enumerate(values):
            text = hover(page, 2, layer, 2, (rank + 0.5) / len(values))
            assert f", rank {rank}" in text
            colour = MARKS[ROUNDING] if marks[rank] == ROUNDING else colormaps[DIFFERENCE_COLOURS](scale(value))
            assert np.abs(np.array(shown[place]) - 255 * np.array(to_rgb(colour))).max() < 5
            place += 1
    units = re.findall(r"\(unit (\d+)\)", hover(page, 2, 0, 2, 0.1))
    lowest = [np.argmin(found.normalized_variance()["block0.layer0"]) for found in pair.results.values()]
    assert [int(unit) for unit in units] == lowest[::-1]
    page.locator("canvas").first.focus()
    page.keyboard.press("ArrowDown")
    assert "layer block0.layer0, unit" in page.locator("#readout").text_content()


def test_the_page_opens_with_the_picture_of_the_readme(opened):
    page = opened([pair_of(), pair_of(dataset="mnist", transformation="scale"), pair_of(dataset="mnist")])
    assert page.locator("#what").text_content() == "simple_conv on mnist: rotation, mean, all samples"
    assert page.locator("#sort").is_checked()
    page.select_option("#dataset", "digits")
    page.uncheck("#sort")
    again = opened([pair_of(), pair_of(dataset="mnist")], address=page.url[page.url.index("#") :])
    assert again.locator("#what").text_content().startswith("simple_conv on digits")
    assert not again.locator("#sort").is_checked()
    assert not opened([pair_of()]).locator("#sort").is_checked()
    page = opened([pair_of(transformation="brightness"), pair_of()])
    assert page.locator("#what").text_content() == "simple_conv on digits: rotation, mean, all samples"


def test_extreme_layers_are_listed_in_order_and_once(opened):
    found = of_layers([4] * 7)
    page = opened([pair_of(found, found)])
    means = found.layer_means()
    order = sorted(means, key=means.get)
    most, least = (page.locator("#extreme-layers ol").nth(place).locator("li").all_text_contents() for place in (0, 1))
    assert [text.split(":")[0] for text in most] == order[:4]
    assert [text.split(":")[0] for text in least] == order[:3:-1]
    assert re.fullmatch(rf"{order[0]}: NV [\d.]+ \(95 %: [\d.]+ to [\d.]+\)", most[0])
    heads = page.locator("h2:visible").all_text_contents()
    assert heads[1:] == ["Most and least invariant layers", "Tables", "Figures"]


@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("name", ["block0.layer", "a", "features.denseblock1.denselayer1.a_long_name"])
def test_lists_of_extreme_layers_stay_apart(opened, name, width):
    found = replace(of_layers([4] * 12), layer_names=[f"{name}{place}" for place in range(12)])
    page = opened([pair_of(found, found)], width=width)
    boxes = [each.bounding_box() for each in page.locator("#extreme-layers ol").all()]
    for one, other in itertools.combinations(boxes, 2):
        below = max(one["y"] - other["y"] - other["height"], other["y"] - one["y"] - one["height"])
        beside = max(one["x"] - other["x"] - other["width"], other["x"] - one["x"] - one["width"])
        assert below > 0 or beside > 16
    assert all(box["x"] + box["width"] <= width for box in boxes)
    assert (name, width) != ("a", 1400) or boxes[0]["y"] == boxes[1]["y"], "short ones are beside each other"


def test_a_selection_goes_to_the_nearest_measurement_and_into_the_address(opened):
    pairs = [pair_of(), pair_of(model="resnet", dataset="mnist"), pair_of(transformation="scale")]
    page = opened(pairs)
    assert page.locator("#what").text_content() == "simple_conv on digits: rotation, mean, all samples"
    assert options(page, "group") == ["all samples", "stratified by class", "class ant", "class bee", "class cow"]
    assert page.locator(".panel p").first.text_content() == "global mean 1.500 ± 0.032"
    page.select_option("#transformation", "scale")
    page.select_option("#group", "cow")
    page.select_option("#model", "resnet")
    assert page.locator("#what").text_content() == "resnet on mnist: rotation, mean, class cow"
    assert page.locator("#dataset").input_value() == "mnist"
    assert page.locator("#samples").text_content() == "3 samples"
    address = page.url[page.url.index("#") :]
    assert "model=resnet" in address
    page.select_option("#transformation", "scale")  # which of this model there is none
    assert page.locator("#what").text_content() == "simple_conv on digits: scale, mean, class cow"
    again = opened(pairs, address=address)
    assert again.locator("#what").text_content() == "resnet on mnist: rotation, mean, class cow"
    again.evaluate("location.hash = '#transformation=scale&group=nonsense&compare=nonsense'")
    sync_api.expect(again.locator("#what")).to_have_text("simple_conv on digits: scale, mean, all samples")


def test_controls_stand_beside_the_pair(opened):
    page = opened([pair_of(), pair_of(control="random-weights"), pair_of(control="shuffled")])
    pair = ["unrotated model", "rotated model", "rotated − unrotated (blue: less)"]
    assert headings(page) == pair
    assert options(page, "compare") == ["models", "control: before training", "control: samples shuffled"]
    page.select_option("#compare", "random-weights")
    assert headings(page)[3:] == [
        "untrained model", "unrotated − untrained (blue: less)", "rotated − untrained (blue: less)"
    ]  # fmt: skip
    page.select_option("#compare", "shuffled")
    assert headings(page)[3:] == [
        "unrotated model, samples shuffled", "rotated model, samples shuffled",
        "rotated − unrotated, samples shuffled (blue: less)",
    ]  # fmt: skip
    page.select_option("#group", "ant")
    assert headings(page) == pair
    assert "not class by class" in page.locator("#notice").text_content()


def test_a_control_alone_is_shown(opened):
    page = opened([pair_of(control="random-weights")])
    assert headings(page) == ["untrained model"]


def test_figures_are_those_of_the_selection(opened, png):
    of = [
        {}, {"model": "simple_conv", "dataset": "digits"}, {"model": "resnet", "dataset": "digits"},
        {"aggregation": "max"}, {"group": "stratified"}, {"control": "shuffled"},
    ]  # fmt: skip
    page = opened([pair_of(), pair_of(control="shuffled")], [drawn_figure(png, **each) for each in of])
    figures = page.locator("figure")
    assert figures.count() == 2
    page.select_option("#group", "stratified")
    page.select_option("#compare", "shuffled")
    assert figures.count() == 4
    page.select_option("#model", "resnet")
    assert (figures.count(), page.locator("#notice").text_content()) == (2, "These models have not been measured.")
    page.select_option("#model", "simple_conv")
    figures.nth(1).locator("summary").click()
    assert "digest-unrotated" in figures.nth(1).text_content()
    assert "python plot_variances_models.py" in figures.nth(1).text_content()
    assert figures.first.locator("img").get_attribute("alt") == f"a title {MARKUP}"
    assert figures.first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 1100
    narrow = figures.first.bounding_box()["width"]
    figures.first.locator("button").focus()
    page.keyboard.press("Enter")
    assert figures.first.locator("button").get_attribute("aria-pressed") == "true"
    assert figures.first.bounding_box()["width"] > 2 * narrow


def test_tables_are_sorted_and_filtered(opened):
    rows = [["b10", Estimate(0.5, 0.1)], ["b9", Estimate(-2, 0.1)], ["a", None], ["c", Estimate(10, float("nan"))]]
    page = opened([], tables=[Table("means", "Means", "Over units", ["name", "NV"], rows)])

    def names():
        return page.locator("tbody tr:visible td:first-child").all_text_contents()

    heads = page.locator("th")
    heads.nth(1).locator("button").click()
    assert (names(), heads.nth(1).get_attribute("aria-sort")) == (["b9", "b10", "c", "a"], "ascending")
    heads.nth(1).locator("button").click()
    assert (names(), heads.nth(1).get_attribute("aria-sort")) == (["c", "b10", "b9", "a"], "descending")
    heads.nth(0).locator("button").click()
    assert (names(), heads.nth(1).get_attribute("aria-sort")) == (["a", "b9", "b10", "c"], "none")
    page.locator("details[open] summary", has_text="Means").click()
    page.fill("#filter", "B 0.5")
    assert (names(), page.locator(".shown").text_content()) == (["b10"], "1 of 4 rows")


def test_hostile_names_are_shown_as_text(opened, png):
    hostile = result(classes=[MARKUP, "__proto__", "&amp;"], layer_names=[MARKUP, "b"])
    table = Table("means", MARKUP, MARKUP, [MARKUP], [[MARKUP]])
    page = opened([pair_of(hostile, hostile, dataset="<i>", command=MARKUP)], [drawn_figure(png)], [table])
    assert options(page, "group")[2:] == [f"class {MARKUP}", "class __proto__", "class &amp;"]
    page.select_option("#group", MARKUP)
    assert page.locator("#what").text_content() == f"simple_conv on <i>: rotation, mean, class {MARKUP}"
    assert f"layer {MARKUP}, unit 0" in hover(page, 0, 0, 2, 0.25)
    page.select_option("#group", "__proto__")
    assert page.locator("td").text_content() == MARKUP
    assert page.locator("[onerror], [src=x]").count() == 0


@pytest.mark.parametrize(
    "found",
    [
        of_layers([1]),
        of_layers([3] * 200),
        of_layers([30_000]),
        result(tv_all=np.full(4, np.nan), sv_all=np.full(4, np.nan)),
        result(classes=[], class_counts=np.empty(0, int), tv_classes=np.empty((0, 4)), sv_classes=np.empty((0, 4)),
               errors=errors(0, 2)),
        of_layers([4], classes=["only"]),
        of_layers([2, 0, 2]),
        result(aggregation="none"),
    ],
    ids=["one unit", "200 layers", "30,000 units", "undefined", "no classes", "one class", "empty layer", "none"],
)  # fmt: skip
def test_odd_results_and_narrow_screens(opened, png, found):
    table = Table("means", "Means", "Over units", ["a long head of a column"] * 9, [["a long cell of text"] * 9])
    page = opened([pair_of(found, found)], [drawn_figure(png)], [table], width=375, height=812, has_touch=True)
    for group in found.groups:
        page.select_option("#group", group)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        if found.aggregation == "none":
            assert "Without aggregation" in page.locator("#notice").text_content()
        else:
            assert page.locator("canvas").count() == 3
            for panel in (0, 1):
                page.locator("canvas").nth(panel).tap(position={"x": 100, "y": CELLS_TOP + 20})
                assert ": layer " in page.locator("#readout").text_content()
