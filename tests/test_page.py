"""The page holds what was measured, exactly enough, asks for nothing, and takes names for nothing but names."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from builders import MARKUP, drawn_figure, of_layers, pair_of, result
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from pytorch.experiments.vocabulary import PAIR
from pytorch.figures import layers_figure, pair_scales, save_figure
from pytorch.figures.cells import MARKS
from pytorch.figures.style import CONTROL_TITLES, DIFFERENCE_COLOURS, MODEL_COLOURS, SCALE_COLOURS
from pytorch.report import encoding, report
from pytorch.report.encoding import embedded, encode
from pytorch.report.gallery import CAPTIONS, subject
from pytorch.report.page import PARTS, write_page
from pytorch.report.table import Estimate, Table


def decode(encoded, sizes=None):
    """Values, with encoding.CONSTANT as 1, as the script of the page decodes them."""
    codes = np.frombuffer(base64.b64decode(encoded["codes"]), dtype="<u2").astype(float)
    tops = encoded["tops"][0] if sizes is None else np.repeat(encoded["tops"], sizes)
    values = np.maximum(tops * 2 ** (-codes * encoding.OCTAVES / encoding.SMALLEST), 5e-324)
    for code, value in (
        (encoding.ZERO, 0),
        (encoding.INFINITE, np.inf),
        (encoding.CONSTANT, 1),
        (encoding.UNDEFINED, np.nan),
    ):
        values[codes == code] = value
    return values


def page(tmp_path, pairs=(), plots=(), tables=(), command="python plot_variances_models.py"):
    path = tmp_path / "index.html"
    write_page(path, pairs, plots, tables, command)
    return path.read_text(encoding="utf-8")


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


@pytest.fixture
def pair_figure(tmp_path):
    return save_figure(layers_figure(pair_of()), tmp_path / "layers.png")


def test_values_come_back_to_two_parts_in_ten_thousand():
    values = 7.3 * 2.0 ** -np.random.default_rng(0).uniform(0, encoding.OCTAVES, 10_000)
    np.testing.assert_allclose(decode(encode([values])), values, rtol=2e-4)


def test_small_layers_beside_large_ones_keep_their_digits():
    layers = [np.array([1e6, 2e6]), np.array([1e-13, 1e-15])]
    np.testing.assert_allclose(decode(encode(layers), [2, 2]), np.concatenate(layers), rtol=2e-4)


@pytest.mark.parametrize("top", [1e308, 1.0, 1e-310])
def test_what_is_not_zero_never_becomes_zero(top):
    values = np.array([top, max(top * 1e-30, 5e-324), 5e-324, 0, np.inf, np.nan, -1])
    found = decode(encode([values]))
    assert (found[:3] > 0).all()
    assert (found[1:3] <= max(top * 2**-31.9, 5e-324)).all()
    assert found[0] == top
    np.testing.assert_array_equal(found[3:], [0, np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(decode(encode([np.array([0, np.nan])])), [0, np.nan])
    np.testing.assert_array_equal(decode(encode([np.empty(0)])), [])


def test_an_embedded_pair_gives_the_normalized_variance_back():
    pair = pair_of()
    part = embedded(pair)
    for model, found in zip(part["models"], pair.results.values(), strict=True):
        for group, content in zip(part["groups"], model["groups"], strict=True):
            expected = np.concatenate(list(found.normalized_variance(group).values()))
            if group == "stratified":
                actual = decode(content["nv"], part["sizes"])
            else:
                tv, sv = decode(content["tv"], part["sizes"]), decode(content["sv"], part["sizes"])
                with np.errstate(divide="ignore", invalid="ignore"):
                    actual = np.where((tv == 0) & (sv == 0), 1, tv / sv)
            np.testing.assert_allclose(actual, expected, rtol=6e-4)
            means = [np.nan if mean is None else mean for mean in content["means"]]
            np.testing.assert_allclose(means, list(found.layer_means(group).values()), rtol=1e-6)
            mean = np.nan if content["mean"] is None else content["mean"]
            assert mean == pytest.approx(found.global_mean(group), rel=1e-6, nan_ok=True)


def test_embedded_means_leave_out_units_that_never_vary_where_asked():
    pair = pair_of(unrotated=result(rounding=np.array([0.0, 0.0, 0.0, 3.0])))
    for model, found in zip(embedded(pair, varying=True)["models"], pair.results.values(), strict=True):
        for group, content in zip(found.groups, model["groups"], strict=True):
            means = [np.nan if mean is None else mean for mean in content["means"]]
            np.testing.assert_allclose(means, [*found.layer_means(group, varying=True).values()], rtol=1e-6)
            low, high = (np.array(content[end], dtype=float) for end in ("low", "high"))
            expected = np.transpose([*found.layer_intervals(group, varying=True).values()])
            np.testing.assert_allclose([low, high], expected, rtol=1e-6)
            mean = np.nan if content["mean"] is None else content["mean"]
            assert mean == pytest.approx(found.global_mean(group, varying=True), rel=1e-6, nan_ok=True)


def test_nothing_stratified_is_embedded_where_no_class_has_two_samples():
    alone = result(class_counts=np.array([1, 1, 1]))
    assert embedded(pair_of(alone, alone))["groups"] == ["all"]


def test_stratified_tells_constant_units_from_ones():
    content = embedded(pair_of())["models"][0]["groups"][1]["nv"]
    codes = np.frombuffer(base64.b64decode(content["codes"]), dtype="<u2")
    assert (codes == encoding.CONSTANT).tolist() == [False, True, False, False]


def test_units_of_rounding_alone_have_a_code_of_their_own():
    """Of the last two units TV and SV are; stratified those of the last are not, in one class."""
    marked = embedded(pair_of(unrotated=result(rounding=np.array([0.0, 0.0, 1.0, 3.0]))))["models"][0]["groups"]
    for group, kinds, expected in ((0, ("tv", "sv"), [2, 3]), (1, ("nv",), [2, 3]), (2, ("tv", "sv"), [2, 3])):
        for kind in kinds:
            codes = np.frombuffer(base64.b64decode(marked[group][kind]["codes"]), dtype="<u2")
            assert np.flatnonzero(codes == encoding.ROUNDING).tolist() == expected


def test_scales_are_those_of_the_figures():
    for pair in (pair_of(of_layers([5, 7]), of_layers([5, 7], samples=7)), pair_of(control="random-weights")):
        content = embedded(pair)
        assert (content["top"], content["differenceTop"]) == (pair_scales(pair).top, pair_scales(pair).difference)


def test_the_page_has_the_colours_marks_and_titles_of_the_figures(tmp_path):
    data = data_of(page(tmp_path))
    colours = data["colours"]
    assert (colours["marks"], data["controls"]) == (MARKS, CONTROL_TITLES)
    models = embedded(pair_of())["models"]
    assert {model["name"]: model["colour"] for model in models} == {name: MODEL_COLOURS[name] for name in PAIR}
    assert [model["title"] for model in models] == ["unrotated model", "rotated model"]
    assert list(colours["marks"]) == list(MARKS), "the script counts on their order"
    for name, colour_map in (("scale", SCALE_COLOURS), ("difference", DIFFERENCE_COLOURS)):
        assert colours[name] == [to_hex(colormaps[colour_map](step)) for step in range(256)]


def test_the_script_knows_the_codes():
    script = (PARTS / "units.js").read_text(encoding="utf-8")
    for name in ("OCTAVES", "SMALLEST", "ZERO", "INFINITE", "CONSTANT", "ROUNDING"):
        assert f"{name} = {getattr(encoding, name)}" in script


def test_hostile_names_stay_text(tmp_path, png):
    hostile = result(classes=[MARKUP, "__proto__", "a & b"], layer_names=[MARKUP, "<b>"])
    pair = pair_of(hostile, hostile, dataset="<i>", command=MARKUP, machine=MARKUP)
    table = Table(name="means", title=MARKUP, caption=MARKUP, columns=[MARKUP], rows=[[MARKUP]])
    text = page(tmp_path, [pair], [drawn_figure(png, dataset=MARKUP)], [table], command=MARKUP)
    assert MARKUP not in text
    assert "<img" not in text
    assert text.count("<script") == text.count("</script") == 2
    part = data_of(text)["measurements"][0]["parts"][0]
    assert part["groups"][2:] == [MARKUP, "__proto__", "a & b"]
    assert part["layers"] == [MARKUP, "<b>"]


def test_nothing_is_asked_for(tmp_path, png):
    class Addresses(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend(value for name, value in attrs if name in ("src", "href", "srcset", "action", "data"))

    found = []
    text = page(tmp_path, [pair_of()], [drawn_figure(png)], [])
    Addresses().feed(text)
    assert found == ["data:,"]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in text
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|innerHTML|import\(", text)


def without():
    """A measurement without aggregation."""
    return pair_of(result(aggregation="none"), result(aggregation="none"))


def test_figures_become_small_and_heatmaps_that_the_page_draws_are_left_out(tmp_path, png):
    maps = [replace(drawn_figure(png, **subject(pair), group="all"), kind="heatmap") for pair in (pair_of(), without())]
    found = data_of(page(tmp_path, [pair_of(), without()], [drawn_figure(png, model="simple_conv"), *maps]))["figures"]
    assert [entry["of"].get("aggregation") for entry in found] == [None, "none"]
    content = base64.b64decode(found[0]["image"])
    (tmp_path / "small.png").write_bytes(content)
    with Image.open(tmp_path / "small.png") as image:
        assert (image.mode, image.size, len(image.getcolors())) == ("P", (1100, 20), 256)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (error,) = write_page(tmp_path / "page.html", [], [drawn_figure("broken")], [], "python")
    assert "broken.png cannot be read as a figure" in error


def test_a_figure_that_is_small_already_is_embedded_as_it_is(tmp_path, pair_figure):
    (found,) = data_of(page(tmp_path, [], [drawn_figure("layers")]))["figures"]
    assert base64.b64decode(found["image"]) == pair_figure.read_bytes()
    assert (found["width"], found["height"], found["caption"]) == (1050, 1275, CAPTIONS["layers"])


def test_tables_carry_what_they_are_sorted_by(tmp_path):
    cells = ["a & b", None, Estimate(np.float64(0.78412), np.float64(0.0021)), 12345]
    rows = [cells, ["c", 3, Estimate(float("nan"), float("nan")), 1], ["d", 1, Estimate(0.5, float("nan")), 2],
            ["e", 2, Estimate(0.25, 0.00004), 3]]  # fmt: skip
    text = page(tmp_path, tables=[Table("means", "Means", "Over units", ["name", "n", "NV", "units"], rows)])
    for expected in (
        '<section class="table" id="table-means">',
        '<th scope="col"><button type="button">name</button></th>',
        '<th scope="col" class="number"><button type="button">NV</button></th>',
        "<tr><td>a &amp; b</td><td></td>"
        '<td class="number" data-value="0.78412">0.7841 ± 0.0021</td>'
        '<td class="number" data-value="12345.0">12345</td></tr>',
        '<td class="number">–</td>',
        '<td class="number" data-value="0.5">0.5000</td>',
        '<td class="number" data-value="0.25">0.250000 ± 0.000040</td>',
    ):
        assert expected in text


def test_controls_of_another_training_are_not_compared(tmp_path):
    others = pair_of(control="shuffled", weights=dict.fromkeys(PAIR, "another"))
    alone = pair_of(control="random-weights", dataset="mnist")
    digits, mnist = data_of(page(tmp_path, [pair_of(), others, alone]))["measurements"]
    assert [part["control"] for part in digits["parts"]] == [None]
    assert [part["control"] for part in mnist["parts"]] == ["random-weights"]


def test_colours_of_marks_survive_in_small_figures(tmp_path):
    picture = np.tile(np.linspace(0, 255, 1000).astype(np.uint8)[None, :, None], (300, 1, 3))
    picture[:, :, 1] = picture[:, ::-1, 1]
    colours = [np.array(to_rgb(colour)) * 255 for colour in MARKS.values()]
    for index, colour in enumerate(colours):
        picture[10 * index : 10 * index + 4, :4] = colour
    Image.fromarray(picture).save(tmp_path / "marks.png")
    small = data_of(page(tmp_path, [], [drawn_figure("marks")]))["figures"][0]["image"]
    (tmp_path / "small.png").write_bytes(base64.b64decode(small))
    with Image.open(tmp_path / "small.png") as image:
        found = np.asarray(image.convert("RGB")).astype(float)
    for index, colour in enumerate(colours):
        assert np.abs(found[10 * index + 1, 1] - colour).max() < 16


def test_controls_are_kept_with_their_pair_and_without_classes(tmp_path):
    of_other_transformations = result(transformations=["0", "1", "2"])
    pairs = [
        pair_of(control="shuffled"), pair_of(), pair_of(control="random-weights"), pair_of(dataset="mnist"),
        pair_of(of_other_transformations, control="random-weights", dataset="mnist"),
    ]  # fmt: skip
    digits, mnist = data_of(page(tmp_path, pairs))["measurements"]
    assert [part["control"] for part in digits["parts"]] == [None, "shuffled", "random-weights"]
    assert [len(part["groups"]) for part in digits["parts"]] == [5, 2, 2]
    assert [part["control"] for part in mnist["parts"]] == [None]
    assert ["rotated model, digest of its weights", "digest-rotated"] in mnist["parts"][0]["provenance"]


def test_the_page_tells_the_data_by_name_and_not_where_it_lay(tmp_path):
    text = page(tmp_path, [replace(pair_of(dataset="folder-pets"), source="/home/someone/pets")])
    assert ["data", "pets"] in data_of(text)["measurements"][0]["parts"][0]["provenance"]
    assert "someone" not in text


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (result(aggregation="none"), "Without aggregation"),
        (of_layers([encoding.MOST_UNITS + 1]), "40,001 units"),
        (of_layers([0]), "no units"),
        (of_layers([9000], classes=[str(index) for index in range(120)]), "in 120 classes"),
    ],
)
def test_what_cannot_be_drawn_says_so(tmp_path, found, reason):
    part = data_of(page(tmp_path, [pair_of(found, found)]))["measurements"][0]["parts"][0]
    assert reason in part["omitted"]
    assert part["models"] == []


def test_models_that_have_figures_only(tmp_path, png):
    text = page(tmp_path, [pair_of()], [drawn_figure(png, model="resnet", dataset="digits"), drawn_figure(png)])
    assert [(found["model"], len(found["parts"])) for found in data_of(text)["measurements"]] == [
        ("simple_conv", 1), ("resnet", 0)
    ]  # fmt: skip
    assert data_of(page(tmp_path))["measurements"] == []


def test_the_page_of_large_networks_is_small_enough(tmp_path):
    """8 pairs of 13,000 units in 10 classes take 14 MB at most, and leave 11 for controls and figures."""
    found = of_layers([1300] * 2, classes=[str(digit) for digit in range(10)])
    one = len(page(tmp_path, [pair_of(found, found)])) - len(page(tmp_path))
    assert 8 * 5 * one < 14e6


class Cells(HTMLParser):
    """The cells of a table, row by row."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_a_page_of_ones_own_results(tmp_path):
    shifted = result(rounding=np.array([0.0, 0.0, 0.0, 3.0]), samples=40)
    results = {"runs/first": result(), "second": shifted}
    path = report(results, tmp_path / "own.html", data="my data")
    text = path.read_text(encoding="utf-8")
    data = data_of(text)
    assert [each["model"] for each in data["measurements"]] == ["runs_first", "second"]
    assert {each["dataset"] for each in data["measurements"]} == {"my data"}
    titles = [each["parts"][0]["models"][0]["title"] for each in data["measurements"]]
    assert titles == ["runs/first", "second"]
    assert [figure["title"] for figure in data["figures"]] == [
        f"{what}, {group}"
        for what in ("Layer means and global means", "Every unit")
        for group in ("all samples", "stratified by class")
    ]
    table = text[text.index('id="table-networks"') :]
    heads, *rows = Cells(table[: table.index("</table>")]).rows
    assert [row[0] for row in rows] == ["runs/first", "runs/first", "second", "second"]
    last = dict(zip(heads, rows[-1], strict=True))
    assert last["samples"] == str(shifted.sample_count("stratified"))
    assert last["rounding"] == str(shifted.unit_counts("stratified")["rounding"])
    for head, varying in (("NV", False), ("without them", True)):
        value = float(last[head].split("±")[0])
        assert value == pytest.approx(shifted.global_mean("stratified", varying=varying), rel=0.02)
    assert 'id="table-layers-second"' in text
    assert [*tmp_path.iterdir()] == [path]


def test_tables_of_ones_own_results_are_named_apart(tmp_path):
    text = report({"a b": result(), "a-b": result()}, tmp_path / "own.html").read_text(encoding="utf-8")
    assert [text.count(f'id="table-layers-{name}"') for name in ("a-b", "a-b-2")] == [1, 1]
