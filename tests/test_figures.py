"""Figures show what they must, and change nothing."""

import itertools
import pickle
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from builders import errors, of_both, result, texts
from matplotlib import colormaps
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from pytorch.errors import InputError
from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.storage import save_values
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR
from pytorch.figures import (
    accuracy_and_layers_figure,
    accuracy_figure,
    angle_figure,
    class_layers_figure,
    class_units_figure,
    classes_figure,
    depth_figure,
    heatmap_figure,
    layers_figure,
    save_figure,
    training_figure,
    units_figure,
)
from pytorch.figures.cells import MARKS, pair_scales
from pytorch.figures.layer_axis import name_blocks, name_layers
from pytorch.figures.saving import write_png
from pytorch.figures.style import class_colour
from pytorch.report.findings import Findings, Measured
from pytorch.report.gallery import Look, plan


def every_figure(pair, **look):
    """Each kind of figure of one measurement, drawn."""
    planned = plan(Findings([Measured(pair, "digest")]), Look(**look))
    assert {figure.kind for figure in planned} >= {"heatmap", "layers", "overview", "depth"}
    return [figure.draw() for figure in planned]


def test_drawing_changes_no_bit_of_a_result(pair, tmp_path):
    before = pickle.dumps(pair.to_dict())
    for sort in (False, True):
        for figure in every_figure(pair, sort=sort):
            save_figure(figure, tmp_path / "figure.png")
    assert pickle.dumps(pair.to_dict()) == before


def test_a_long_title_stays_within_its_figure(pair):
    pair = VariancePair(**{**vars(pair), "model": "all_convolutional", "dataset": "folder-" + "long name " * 12})
    for figure in (heatmap_figure(pair, "cow"), layers_figure(pair), classes_figure(pair)):
        figure.draw_without_rendering()
        title = figure._suptitle.get_window_extent()
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.x1
    assert "2 rotations, aggregation mean, 3 samples" in texts(heatmap_figure(pair, "cow"))


@pytest.mark.parametrize("width", [None, 3.4, 7.0])
def test_titles_and_legends_of_a_heatmap_of_few_layers_stay_apart_and_within(pair, width):
    odd = {"tv_all": np.array([0.0, 1.0, np.nan, 9.0]), "sv_all": np.array([0.0, 0.0, 1.0, 1.0])}
    figure = heatmap_figure(of_both(pair, **odd), "all", width=width, sort=True)
    figure.draw_without_rendering()
    titles = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_title("left")]
    boxes = [*titles, figure.legends[0].get_window_extent()]
    assert len(titles) == 3
    assert width or min(axes._left_title.get_fontsize() for axes in figure.axes if axes.get_title("left")) > 7
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"tv_all": np.full(4, np.nan), "tv_classes": np.full((3, 4), np.nan)},
        {"tv_all": np.zeros(4), "tv_classes": np.zeros((3, 4))},
        {"classes": ["one"], "class_counts": np.array([6]), "tv_classes": np.ones((1, 4)),
         "sv_classes": np.ones((1, 4))},
        {"classes": [], "class_counts": np.array([], dtype=int), "tv_classes": np.ones((0, 4)),
         "sv_classes": np.ones((0, 4))},
        {"layer_names": ["only"], "layer_shapes": [(4,)]},
        {"layer_names": ["only"], "layer_shapes": [(1,)], "tv_all": np.ones(1), "sv_all": np.ones(1),
         "tv_classes": np.ones((3, 1)), "sv_classes": np.ones((3, 1))},
        {"layer_names": [f"a{index // 20}.conv{index}" for index in range(200)], "layer_shapes": [(1,)] * 200,
         "tv_all": np.ones(200), "sv_all": np.ones(200), "classes": ["one"], "class_counts": np.array([6]),
         "tv_classes": np.ones((1, 200)), "sv_classes": np.ones((1, 200))},
        {"layer_names": ["scalar", "rest"], "layer_shapes": [(), (3,)]},
    ],
    ids=["all undefined", "all invariant", "one class", "unlabelled", "one layer", "one unit", "200 layers",
         "a layer of one number"],
)  # fmt: skip
def test_unusual_results_can_be_drawn(pair, changes, tmp_path):
    pair = of_both(pair, **changes)
    for figure in every_figure(pair, width=3.4 if len(result(**changes).layer_names) < 100 else None):
        save_figure(figure, tmp_path / "figure.png")


def test_names_that_mean_something_to_matplotlib_are_shown_as_they_are(pair, tmp_path):
    pair = of_both(pair, classes=["$^$", "_bg", "c"], layer_names=["$a.$b", "_b"])
    for each in every_figure(pair):
        save_figure(each, tmp_path / "figure.png")
    figure = classes_figure(pair)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[:4] == [r"\$^\$", " _bg", "c", "stratified by class"]
    save_figure(figure, tmp_path / "figure.png")
    heatmap = heatmap_figure(pair, "$^$")
    assert heatmap.get_suptitle().startswith(r"simple_conv on digits: class \$^\$" + "\n")
    save_figure(heatmap, tmp_path / "figure.png")


def test_results_of_ones_own_are_drawn_as_what_they_are():
    def own(first, **changes):
        return VariancePair.of_results({"unrotated": first, "rotated": replace(first, **changes)}, "mine", "digits")

    plain = result()
    assert own(plain).control is None
    assert "2 transformations, aggregation mean" in layers_figure(own(plain)).get_suptitle()
    turned = replace(plain, transformations=["rotation by 0°", "rotation by 180°"])
    assert "2 rotations, aggregation mean" in layers_figure(own(turned)).get_suptitle()
    shuffled = layers_figure(own(replace(plain, shuffled=True)))
    assert "mine on digits (samples shuffled)" in shuffled.get_suptitle()
    for name, value in {"tolerance": 0.1, "shuffled": True, "samples": plain.samples + 1, "precision": "bf16"}.items():
        with pytest.raises(InputError, match=f"^its results differ in their {name}$"):
            own(plain, **{name: value})
    assert own(replace(plain, tolerance=0.1), samples=plain.samples + 1).control is None


def test_results_of_ones_own_go_by_their_own_names(pair, tmp_path):
    names = ["before $pruning$", "_after"]
    own = VariancePair.of_results({name: result() for name in names}, "mine", "digits")
    with_curves = replace(own, angle_curves=pair.angle_curves)
    for draw in (partial(heatmap_figure, group="all"), layers_figure, classes_figure, class_layers_figure,
                 class_units_figure, accuracy_and_layers_figure):  # fmt: skip
        figure = draw(with_curves)
        said = texts(figure)
        assert r"before \$pruning\$" in said
        assert " _after" in said
        assert "rotated" not in said
        save_figure(figure, tmp_path / "figure.png")
    assert r" _after − before \$pruning\$ (blue: less)" in texts(class_layers_figure(own))
    assert r" _after − before \$pruning\$ by rank" in " ".join(texts(heatmap_figure(own, "all", sort=True)).split())
    shuffled = VariancePair.of_results({name: result(shuffled=True) for name in names}, "mine", "digits")
    assert r"control, samples shuffled:  _after, all samples" in texts(layers_figure(own, [shuffled]))
    for refused, told in (
        (partial(save_values, tmp_path / "own.pickle"), "it must contain both models of a pair"),
        (lambda pair: depth_figure([pair]), "networks are drawn against depth if each"),
    ):
        with pytest.raises(ValueError, match=told):
            refused(own)
    assert not (tmp_path / "own.pickle").exists()
    with pytest.raises(ValueError, match="it names models that were not measured"):
        replace(own, names={"untrained": "x"})


@pytest.mark.parametrize("width", [None, 3.4, 7.0])
@pytest.mark.parametrize(
    "names",
    [
        ("network A", "network B"),
        ("before pruning", "after pruning"),
        ("ResNet-50, rotations, seed 1", "Vision transformer, upright, seed 2"),
    ],
)
@pytest.mark.parametrize("sort", [False, True])
def test_names_of_ones_own_stay_within_the_figure_and_apart(names, width, sort):
    own = VariancePair.of_results({name: result() for name in names}, "mine", "digits")
    for figure in (heatmap_figure(own, "all", width=width, sort=sort), layers_figure(own, width=width)):
        figure.draw_without_rendering()
        boxes = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_title("left")]
        boxes += [legend.get_window_extent() for legend in figure.legends]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "aggregation mean, 6 samples"),
        ({"dispersion": "variance"}, "aggregation mean, dispersion variance, 6 samples"),
        ({"precision": "bf16", "tolerance": 0.05}, "aggregation mean, precision bf16, tolerance 0.05, 6 samples"),
    ],
)
def test_a_figure_says_how_it_was_measured_where_that_is_not_the_usual_way(changes, told):
    own = VariancePair.of_results({name: result(**changes) for name in PAIR}, "mine", "digits")
    for figure in (heatmap_figure(own, "all"), layers_figure(own), depth_figure([own])):
        assert f"2 transformations, {told}" in " ".join(figure.get_suptitle().split())


def test_what_is_not_known_of_results_of_ones_own_is_told():
    own = VariancePair.of_results({"a": result(), "b": result()}, "mine", "digits")
    with pytest.raises(ValueError, match="accuracy against the angle of the test data is not known"):
        accuracy_and_layers_figure(own)
    for wrong in ({"mean": result(), "both": {"mean": result()}}, result(), [result()]):
        with pytest.raises(InputError, match="results must be a dictionary of one or two results by name"):
            VariancePair.of_results(wrong, "mine", "digits")
    with pytest.raises(InputError, match="the names unrotated and rotated go together"):
        VariancePair.of_results({"rotated": result(), "mine": result()}, "mine", "digits")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((3, "digits"), "its model: int is not an instance of str"),
        (("a/b", "digits"), "'a/b' cannot be the name of a model, a data set or a transformation"),
        (("mine", ""), "'' cannot be the name"),
        (("mine", "digits", "../turn"), "'../turn' cannot be the name"),
    ],
)
def test_names_that_cannot_be_part_of_a_file_name_are_refused_in_one_line(names, told):
    with pytest.raises(InputError, match=f"^{re.escape(told)}.*$"):
        VariancePair.of_results({"a": result()}, *names)


def test_a_class_of_one_sample_has_no_heatmap(pair):
    """Bees have one sample; with a tolerance, the second model may have seen another one."""

    def heatmaps(measured):
        planned = plan(Findings([Measured(measured, "digest")]), Look())
        return [plot.name.partition("heatmap_")[2] for plot in planned if plot.kind == "heatmap"]

    assert pair.any_result.classes == ["ant", "bee", "cow"]
    expected = ["all", "stratified", "class0_ant", "class2_cow"]
    assert heatmaps(pair) == expected
    more = replace(pair.results["rotated"], class_counts=np.array([2, 2, 3]))
    seen = replace(pair, results={**pair.results, "rotated": more})
    assert heatmaps(seen) == ["all", "stratified", "class0_ant", "class1_bee", "class2_cow"]
    alone = of_both(pair, class_counts=np.array([1, 1, 1]))
    assert heatmaps(alone) == ["all"]


def test_results_of_other_layers_are_refused_in_one_line():
    other = result(layer_names=["conv", "other"])
    with pytest.raises(InputError, match=r"^its results differ in their layer names$"):
        VariancePair.of_results({"a": result(), "b": other}, "mine", "digits")


OF_A_PAIR = {
    "heatmap": heatmap_figure,
    "layers": layers_figure,
    "classes": classes_figure,
    "class layers": class_layers_figure,
    "class units": class_units_figure,
    "overview": accuracy_and_layers_figure,
    "depth": lambda pair, **options: depth_figure([pair], **options),
}


@pytest.mark.parametrize("draw", OF_A_PAIR.values(), ids=OF_A_PAIR)
def test_what_is_no_pair_is_refused_with_the_ways_to_draw_it(pair, draw):
    ways = r"VariancePair.of_results\({0}, model=..., dataset=...\), or draw results with compare\({0}\)"
    for wrong, told in (
        (result(), "a result: make a pair by " + ways.format('{"mine": result}')),
        ({"a": result()}, "of type dict: make a pair by " + ways.format("results")),
        (None, "of type NoneType: "),
    ):
        with pytest.raises(InputError, match=f"^pair is {told}"):
            draw(wrong)
    with pytest.raises(InputError, match=r"^width is '3': it must be a number of inches, 2 to 60, or None$"):
        draw(pair, width="3")


def test_scales_and_units_of_what_is_no_pair():
    for draw in (pair_scales, lambda wrong: units_figure(wrong, "conv", {}, {}, None, None, None)):
        with pytest.raises(InputError, match=r"^pair is a result: make a pair by VariancePair.of_results"):
            draw(result())


def test_a_heatmap_is_over_all_samples_unless_told(pair):
    assert texts(heatmap_figure(pair)) == texts(heatmap_figure(pair, "all"))


def test_the_models_of_a_pair_stand_in_its_order():
    first, second = result(), replace(result(), never_called=["x"])
    own = VariancePair.of_results({"rotated": second, "unrotated": first}, "mine", "digits")
    assert list(own.results.items()) == [("unrotated", first), ("rotated", second)]
    assert "rotated − unrotated (blue: less)" in texts(heatmap_figure(own, "all"))
    assert "unrotated model, all samples" in texts(layers_figure(own))


def test_one_result_is_drawn_by_itself(tmp_path):
    alone = VariancePair.of_results({"my network": result()}, "mine", "digits")
    for figure in (heatmap_figure(alone, "stratified"), layers_figure(alone), classes_figure(alone),
                   class_layers_figure(alone), class_units_figure(alone)):  # fmt: skip
        save_figure(figure, tmp_path / "figure.png")
        assert "my network" in texts(figure)
        assert "blue: less" not in texts(figure)
    rotated = VariancePair.of_results({"rotated": result()}, "mine", "digits")
    assert "rotated model, all samples" in texts(layers_figure(rotated))
    with pytest.raises(ValueError, match="it must contain both models of a pair"):
        save_values(tmp_path / "alone.pickle", rotated)
    assert not (tmp_path / "alone.pickle").exists()


@pytest.mark.parametrize("count", [0, 3])
def test_other_numbers_of_results_are_no_pair(count):
    with pytest.raises(InputError, match=f"{count} results: one or two are drawn"):
        VariancePair.of_results({f"network {index}": result() for index in range(count)}, "mine", "digits")


def test_a_figure_is_saved_by_a_path_in_any_form(pair, tmp_path):
    figure = layers_figure(pair)
    assert save_figure(figure, str(tmp_path / "figure.PDF")).read_bytes().startswith(b"%PDF")
    for name in ("figure", "figure.xyz"):
        with pytest.raises(InputError, match=r"has no suffix that names a format: png, pdf, svg"):
            save_figure(figure, tmp_path / name)


def test_a_picture_has_few_colours_near_its_own_and_keeps_its_texts(tmp_path):
    """A picture of two colour maps, in more shades than a palette has, with rare pixels in the colours of marks."""
    pixels = np.full((200, 600, 3), 255, dtype=np.uint8)
    for top, name in ((50, "viridis"), (100, "RdBu_r")):
        pixels[top : top + 50] = 255 * colormaps[name](np.linspace(0, 1, 600))[:, :3]
        pixels[top + 25 : top + 50, ::2] //= 2
    marks = (255 * np.array([to_rgb(colour) for colour in MARKS.values()])).astype(np.uint8)
    pixels[0, : len(marks)] = marks
    given = Image.fromarray(pixels)
    given.text = {"Software": "matplotlib"}
    for name in "ab":
        with (tmp_path / name).open("wb") as file:
            write_png(given, file)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with Image.open(tmp_path / "a") as image:
        assert (image.mode, image.text) == ("P", given.text)
        found = np.asarray(image.convert("RGB")).astype(int)
    off = np.abs(found - pixels)
    assert off.max() <= 5
    assert not off[:50].any()


def test_a_transparent_picture_stays_transparent(pair, tmp_path):
    figure = layers_figure(pair)
    figure.patch.set_alpha(0.5)
    with Image.open(save_figure(figure, tmp_path / "figure.png")) as image:
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 128)
        assert image.convert("RGBA").getchannel("A").getextrema() == (128, 255)


def test_no_band_is_drawn_where_a_logarithmic_axis_has_no_place_for_it(pair):
    """A layer of zeros parts the band of TV in two."""
    names = ["a", "b", "c"]
    still = {"tv_all": np.array([1.0, 0.0, 1.0]), "sv_all": np.array([1.0, 0.0, 1.0]), "errors": errors(3, 3)}
    pair = of_both(
        pair,
        layer_names=names,
        layer_shapes=[(1,)] * 3,
        **still,
        tv_classes=np.ones((3, 3)),
        sv_classes=np.ones((3, 3)),
    )
    _, tv, *_ = layers_figure(pair).axes
    assert all(len(polygon.vertices) < 8 for band in tv.collections for polygon in band.get_paths())
    assert tv.get_yscale() == "log"


def test_layer_plots_draw_the_layer_means(pair):
    figure = layers_figure(pair)
    ratio, tv, sv, last = figure.axes
    figure.draw_without_rendering()
    ends = [axes.yaxis.label.get_window_extent().x1 for axes in figure.axes]
    assert max(ends) - min(ends) < 1  # one column of labels
    lines = {line.get_label(): line.get_ydata() for line in ratio.get_lines()}
    np.testing.assert_allclose(lines["unrotated model, all samples"], [0.75, 3])
    np.testing.assert_allclose(lines["unrotated model, stratified by class"], [1.5, 2.25])
    assert [label.get_text() for label in last.get_xticklabels()] == ["conv", "linear"]
    np.testing.assert_allclose(tv.get_lines()[0].get_ydata(), [0.5, 2])
    np.testing.assert_allclose(sv.get_lines()[0].get_ydata(), [1, 0.5])
    panels = classes_figure(pair).axes
    for trained_on, panel in zip(("unrotated", "rotated"), panels, strict=True):
        lines = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
        for name in ("ant", "bee", "cow"):
            expected = list(pair.results[trained_on].layer_means(name).values())
            np.testing.assert_allclose(lines[name], expected)
    assert panels[0].get_ylim() == panels[1].get_ylim()


def test_markers_are_hollow_where_units_do_not_vary(pair):
    """A unit of conv is 0/0, and one of linear is of rounding alone."""
    told = "some units are constant or rounding only"
    mixed = of_both(pair, rounding=np.array([0.0, 0.0, 1.5, 0.0]))
    figure = layers_figure(mixed)
    hollow = next(found for found in figure.axes[0].collections if isinstance(found, PathCollection))
    assert hollow.get_offsets().tolist() == [[0, 0.75], [1, 3]]
    assert told in " ".join(texts(figure).split())
    assert told in " ".join(texts(classes_figure(mixed)).split())
    ones = np.ones((3, 4))
    living = of_both(pair, tv_all=ones[0], sv_all=ones[0], tv_classes=ones, sv_classes=ones, rounding=np.zeros(4))
    for figure in (layers_figure(living), classes_figure(living)):
        assert told not in " ".join(texts(figure).split())


def hollow_places(axes):
    return [
        place
        for found in axes.collections
        if isinstance(found, PathCollection)
        for place in found.get_offsets().tolist()
    ]


def test_markers_are_hollow_against_depth_and_beside_the_accuracy(pair):
    """Of the unrotated model a unit of conv is 0/0; of the rotated one a unit of linear, over all samples."""
    told = "some units are constant or rounding only"
    figure = depth_figure([pair])
    assert [hollow_places(axes) for axes in figure.axes[:2]] == [[[0, 0.75]], [[100, 1]]]
    assert told in texts(figure)
    figure = accuracy_and_layers_figure(pair)
    means = [pair.results[name].layer_means("stratified")["conv"] for name in PAIR]
    assert hollow_places(figure.axes[1]) == [[0, mean] for mean in means]
    assert told in texts(figure)
    ones = np.ones((3, 4))
    living = of_both(pair, tv_all=ones[0], sv_all=ones[0], tv_classes=ones, sv_classes=ones)
    for figure in (depth_figure([living]), accuracy_and_layers_figure(living)):
        assert not any(map(hollow_places, figure.axes))
        assert told not in texts(figure)


def test_layer_plots_show_how_many_units_never_vary(pair):
    """Half of conv is 0/0, and half of linear of rounding alone."""
    mixed = of_both(pair, rounding=np.array([0.0, 0.0, 0.0, 3.5]))
    third = {"layer_names": ["conv", "linear", "last"], "layer_shapes": [(2,), (1,), (1,)], "errors": errors(3, 3)}
    for found, expected in ((mixed, [50, 50]), (of_both(mixed, **third), [50, 0, 0])):
        *_, still = layers_figure(found).axes
        assert still.get_ylabel() == "units that never\nvary (%)"
        assert [bar.get_height() for bar in still.patches] == 2 * expected
        centres = [bar.get_x() + bar.get_width() / 2 for bar in still.patches]
        np.testing.assert_allclose(np.add(*np.split(np.array(centres), 2)) / 2, range(len(expected)), atol=1e-12)
    ones = np.ones(4)
    assert "never" not in texts(layers_figure(of_both(pair, tv_all=ones, sv_all=ones)))


def test_means_without_units_that_never_vary_are_drawn_and_told(pair):
    """Of conv only NV 1/2 is left, of linear 3 or, where the rotated model is constant, 1."""
    results = {name: replace(found, rounding=np.zeros(4)) for name, found in pair.results.items()}
    pair = replace(pair, results=results)
    expected = {name: [*found.layer_means(varying=True).values()] for name, found in results.items()}
    assert expected["unrotated"] == [0.5, 3]
    layers = layers_figure(pair, varying=True)
    lines = {line.get_label(): line.get_ydata() for line in layers.axes[0].get_lines()}
    np.testing.assert_array_equal(lines["unrotated model, all samples"], expected["unrotated"])
    np.testing.assert_array_equal(lines["rotated model, all samples"], expected["rotated"])
    tv = [*results["unrotated"].layer_means("all", "transformation", varying=True).values()]
    np.testing.assert_array_equal(layers.axes[1].get_lines()[0].get_ydata(), tv)
    classes = classes_figure(pair, varying=True)
    ant = [*results["unrotated"].layer_means("ant", varying=True).values()]
    np.testing.assert_array_equal(classes.axes[0].get_lines()[0].get_ydata(), ant)
    maps = class_layers_figure(pair, varying=True)
    np.testing.assert_array_equal(np.ma.filled(maps.axes[0].get_images()[0].get_array(), np.nan)[0], ant)
    depth = depth_figure([pair], varying=True)
    np.testing.assert_array_equal(depth.axes[0].get_lines()[0].get_ydata(), expected["unrotated"])
    overview = accuracy_and_layers_figure(pair, varying=True)
    stratified = [*results["unrotated"].layer_means("stratified", varying=True).values()]
    np.testing.assert_array_equal(overview.axes[1].get_lines()[0].get_ydata(), stratified)
    for figure in (layers, classes, maps, depth, overview):
        assert "only units that vary" in figure.get_suptitle()
        assert "hollow" not in texts(figure)
    heatmap = heatmap_figure(pair, "all", varying=True)
    strip = next(axes for axes in heatmap.axes if axes.patches)
    assert strip.patches[0].get_data().values.tolist() == expected["unrotated"]
    assert "unrotated model: global mean 1.750" in " ".join(texts(heatmap).split())
    assert "all samples, bars of units that vary" in heatmap.get_suptitle()
    control = replace(pair, control="shuffled")
    lines = layers_figure(pair, [control], varying=True).axes[0].get_lines()
    shuffled = next(line for line in lines if line.get_label().startswith("control"))
    np.testing.assert_array_equal(shuffled.get_ydata(), expected["unrotated"])


@pytest.mark.parametrize("width", [2.5, 3.4, None])
def test_legends_stay_within_the_figure(pair, width):
    for figure in (depth_figure([pair] * 5, width=width), accuracy_and_layers_figure(pair, width=width)):
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        labels = [axes.xaxis.label.get_window_extent() for axes in figure.axes if axes.get_xlabel()]
        assert not any(one.overlaps(other) for one, other in itertools.combinations([box, *labels], 2))


def test_nothing_is_stratified_where_no_class_has_two_samples(pair):
    """Nothing of single classes is planned either: it would be empty."""
    alone = of_both(pair, class_counts=np.array([1, 1, 1]), sv_classes=np.full((3, 4), np.nan), samples=3)
    figures = plan(Findings([Measured(alone, "digest")]), Look())
    assert [figure.name.split("/")[-1] for figure in figures] == [
        "rotation_mean_heatmap_all", "rotation_mean_layers", "rotation_mean_overview", "digits_rotation_mean_depth",
    ]  # fmt: skip
    for figure in figures:
        assert "stratified" not in texts(figure.draw())
    with pytest.raises(
        InputError, match=r"^'simple_conv' has no class of two samples, so its stratified NV is undefined"
    ):
        heatmap_figure(alone, "stratified")


def test_what_is_drawn_last_is_not_cut_off(pair):
    """The rotated model's means are ten times as high."""
    high = {"tv_all": np.full(4, 10.0), "sv_all": np.ones(4), "tv_classes": np.full((3, 4), 10.0),
            "sv_classes": np.ones((3, 4))}  # fmt: skip
    pair = VariancePair(**{**vars(pair), "results": {"unrotated": result(), "rotated": result(**high)}})
    for figure in (layers_figure(pair), classes_figure(pair), depth_figure([pair])):
        assert figure.axes[0].get_ylim()[1] > 10
    assert accuracy_and_layers_figure(pair).axes[1].get_ylim()[1] > 10


def test_class_maps_have_a_row_for_each_class(pair):
    results = {**pair.results, "rotated": result(tv_classes=np.full((3, 4), 0.5))}
    pair = VariancePair(**{**vars(pair), "results": results})
    figure = class_layers_figure(pair)
    unrotated, rotated, difference = (np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes[:3])
    expected = [list(pair.results["unrotated"].layer_means(name).values()) for name in ("ant", "bee", "cow")]
    np.testing.assert_array_equal(unrotated, expected)
    assert np.nanmin(unrotated - rotated) > 0
    np.testing.assert_array_equal(difference, rotated - unrotated)
    assert "ant\nbee\ncow" in texts(figure)
    last = class_units_figure(pair)
    assert last.axes[0].get_images()[0].get_array().shape == (3, 2, 4), "classes, units of the last layer, RGBA"
    assert "unit of linear" in texts(last)


def test_networks_are_drawn_on_one_axis_of_depth(pair):
    deeper = of_both(pair, layer_names=["a", "b", "c", "d"], layer_shapes=[(1,)] * 4, errors=errors(3, 4))
    figure = depth_figure([pair, VariancePair(**{**vars(deeper), "model": "resnet"})])
    short, deep = figure.axes[0].get_lines()[:2]
    np.testing.assert_allclose(short.get_xdata(), [0, 100])
    np.testing.assert_allclose(deep.get_xdata(), np.linspace(0, 100, 4))
    np.testing.assert_allclose(short.get_ydata(), list(pair.results["unrotated"].layer_means().values()))
    names, hollow = {"simple_conv", "resnet"}, "hollow: some units are constant or rounding only"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {*names, hollow}


def test_accuracy_stands_beside_the_variance(pair):
    curve, means = accuracy_and_layers_figure(pair).axes
    np.testing.assert_allclose(curve.get_lines()[0].get_ydata(), [100 * 4 / 6, 50])
    np.testing.assert_allclose(
        means.get_lines()[0].get_ydata(), list(pair.results["unrotated"].layer_means("stratified").values())
    )


@pytest.mark.parametrize("width", [2.5, 3.4, 6.0, None])
def test_the_names_of_controls_stay_within_the_figure(pair, width):
    more = {"samples": 2000}
    controls = [
        VariancePair(**{**vars(pair), "control": "random-weights", "results": {"untrained": result(**more)}}),
        VariancePair(**{**vars(of_both(pair, **more)), "control": "shuffled"}),
    ]
    figure = layers_figure(pair, controls, width=width)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert "control, samples shuffled, 2,000 samples: rotated model, all samples" in " ".join(texts(figure).split())


def test_layer_plots_have_bands_and_controls_beside(pair):
    untrained = VariancePair(
        **{**vars(pair), "control": "random-weights", "results": {"untrained": result(tv_all=np.full(4, 0.5))}}
    )
    axes = layers_figure(pair, [untrained]).axes[0]
    assert len(axes.lines) == 4 + 2 + 1  # two models and the control, two groups each; and the line at 1
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    low, high = pair.results["unrotated"].layer_intervals()["conv"]
    assert low in band
    assert high in band
    assert "control, before training: untrained model" in texts(layers_figure(pair, [untrained]))
    assert "before training" in texts(heatmap_figure(untrained, "all"))
    assert "rotated − unrotated" in texts(heatmap_figure(pair, "all", scales=pair_scales(pair)))
    assert "rotated − unrotated" not in texts(heatmap_figure(untrained, "all", scales=pair_scales(pair)))


def test_what_is_no_trained_pair_is_refused_in_one_line(pair, trained):
    both = dict.fromkeys(PAIR, trained)
    form = (
        "^a trained pair is a dictionary of the unrotated and the rotated TrainedModel, as load_model reads them, and "
    )
    for wrong, told in (
        (result(), "not of type VarianceResult$"),
        (pair, "not of type VariancePair$"),
        ({name: result() for name in PAIR}, "not a dictionary of unrotated, rotated$"),
        ({"rotated": trained}, "not a dictionary of rotated$"),
        (None, "not of type NoneType$"),
        ([], "not empty$"),
    ):
        with pytest.raises(InputError, match=form + told):
            training_figure(wrong)
        for draw in (accuracy_figure, angle_figure):
            with pytest.raises(InputError, match=form + told):
                draw([both, wrong])
    for draw in (accuracy_figure, angle_figure):
        for wrong, told in (
            (both, "a dictionary of unrotated, rotated"),
            (pair, "of type VariancePair"),
            ([], "empty"),
            (None, "of type NoneType"),
        ):
            with pytest.raises(InputError, match=f"^pairs must be a list of one or .*, and not {told}$"):
                draw(wrong)
        other = {**both, "rotated": replace(trained, classes=["a", "b"])}
        with pytest.raises(InputError, match=r"^pairs must be trained on the same classes"):
            draw([both, other])
    for curve in (None, replace(trained.angle_curve, degrees=[0.0, 45.0])):
        other = {**both, "rotated": replace(trained, angle_curve=curve)}
        with pytest.raises(InputError, match=r"^the accuracy against the angle is not known of all models, or not at"):
            angle_figure([both, other])


def test_training_figures(trained, tmp_path):
    models = {"unrotated": trained, "rotated": trained}
    shown = texts(accuracy_figure([models]))
    assert "upright test data" in shown
    heights = [bar.get_height() for bar in accuracy_figure([models]).axes[0].patches]
    assert heights == [0.5, 0.25, 0.5, 0.25]
    assert "training loss (nats per sample)" in texts(training_figure(models))
    of_one_class = replace(trained, history=[replace(epoch, loss=0.0) for epoch in trained.history])
    assert training_figure(dict.fromkeys(PAIR, of_one_class)).axes[0].get_ylim() == (0, 1)


def test_several_pairs_are_drawn_with_their_spread(trained):
    better = replace(trained, accuracy={"upright": 0.7, "rotated": 0.25})
    pairs = [{"unrotated": model, "rotated": model} for model in (trained, better)]
    figure = accuracy_figure(pairs)
    assert "mean ± sd of 2 seeds" in texts(figure)
    (whisker,) = {tuple(np.round(path.vertices[:, 1], 4)) for path in figure.axes[0].collections[0].get_paths()[:1]}
    np.testing.assert_allclose(whisker, [0.6 - np.sqrt(0.02), 0.6 + np.sqrt(0.02)], atol=1e-3)


def test_accuracy_against_angle(trained):
    """Right: 2 + 1 + 1 samples; at 0° one of the first class, at 90° one of the second."""
    both, unrotated, rotated = angle_figure([{"unrotated": trained, "rotated": trained}]).axes
    assert [line.get_ydata().tolist() for line in both.get_lines()] == [[0.25, 0.25]] * 2
    for axes in (unrotated, rotated):
        lines = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
        assert lines == {"a": [0.5, 0], "b": [0, 1], "c": [0, 0], "all": [0.25, 0.25]}


@pytest.mark.parametrize("classes", [1, 30, 200])
def test_curves_of_many_classes_leave_room_for_the_axes(trained, classes, tmp_path):
    curve = AngleCurve([0.0, 90.0], [[1] * classes, [0] * classes], [1] * classes)
    many = replace(trained, classes=[f"class number {index}" for index in range(classes)], angle_curve=curve)
    figure = angle_figure([{"unrotated": many, "rotated": many}])
    save_figure(figure, tmp_path / "angles.png")
    assert all(axes.get_position().width > 0.15 for axes in figure.axes)


def test_a_map_of_few_classes_with_long_names_has_room_for_its_colours(pair):
    names = ["cow", "a class whose name is long", "yak"]
    part = {"tv_classes": np.ones((3, 4)), "sv_classes": np.ones((3, 4)), "classes": names}
    figure = class_units_figure(of_both(pair, layer_names=["conv", "out"], layer_shapes=[(1,), (3,)], **part))
    figure.draw_without_rendering()
    bar = figure.axes[-1]
    assert bar.get_window_extent().height > 1.5 * figure.dpi
    assert bar.yaxis.label.get_window_extent().y1 <= figure.bbox.y1
    assert figure.axes[0].get_ylabel() == "samples of class"


def test_names_of_blocks_do_not_run_into_each_other():
    """A block of one layer beside a wide one goes without its name, as its own room is too small."""
    layers = [f"encoder_layer_{place // 12}.part{place % 12}" for place in range(24)] + ["encoder.norm"]
    axes = Figure(figsize=(6, 3)).subplots()
    axes.set_xlim(-0.5, len(layers) - 0.5)
    assert name_blocks(axes, layers, pitch=0.12)
    assert [text.get_text() for text in axes.texts] == ["encoder_layer_0", "encoder_layer_1"]
    axes = Figure(figsize=(6, 3)).subplots()
    assert name_blocks(axes, [f"a_long_name_{place}.conv" for place in range(4)], pitch=0.4)
    assert [text.get_text() for text in axes.texts] == ["a_long_name_0", "a_long_name_2"]
    axes = Figure(figsize=(6, 3)).subplots()
    assert name_blocks(axes, [f"a_long_name_{place}.conv" for place in range(4)], pitch=0.12)
    assert [text.get_text() for text in axes.texts] == ["a_long_name_0"]


def test_layers_below_an_unnamed_block_have_whole_names():
    layers = [f"features.{block}.{place}" for block, count in ((0, 2), (1, 9)) for place in range(count)]
    axes = Figure(figsize=(3, 3)).subplots()
    name_blocks(axes, layers, pitch=0.1)
    name_layers(axes, layers, pitch=0.1)
    assert [text.get_text() for text in axes.texts] == ["features.1"]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["features.0.0", "features.0.1", *map(str, range(9))]


@pytest.mark.parametrize(
    ("pitch", "layers", "named"),
    [
        (0.1, [f"layer{stage}.{block}.{part}" for stage in (1, 2) for block in (0, 1) for part in "abcdef"],
         ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]),
        (0.05, [f"layer{stage}.{block}.{part}" for stage in (1, 2) for block in (0, 1) for part in "abcdef"],
         ["layer1", "layer2"]),
        (0.05, [f"features.{stage}.0.block.{place}.{part}" for stage in (1, 2) for place in (0, 1) for part in "abcd"],
         ["features"]),
        (0.04, [f"encoder.layers.encoder_layer_{place}.{part}" for place in (0, 1) for part in range(26)],
         ["encoder_layer_0", "encoder_layer_1"]),
        (0.02, [f"net.block{place}.unit{unit}.{part}" for place in (1, 2) for unit in (1, 2) for part in range(20)],
         ["net.block1", "net.block2"]),
    ],
    ids=["room for all", "stages", "numbers alone", "a common beginning", "the same end"],
)  # fmt: skip
def test_names_of_blocks_tell_them_apart(pitch, layers, named):
    axes = Figure().subplots()
    assert name_blocks(axes, layers, pitch)
    assert [text.get_text() for text in axes.texts] == named


def perceived(colours, sight):
    """Colours in Oklab (Ottosson 2020), (n, 3), as ``sight`` maps linear RGB (Machado et al. 2009)."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.transpose(sight)
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    axes = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(np.clip(linear, 0, 1) @ np.transpose(cones)) @ np.transpose(axes)


@pytest.mark.parametrize(
    "sight",
    [
        np.eye(3),
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0521]],
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
        [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
    ],
    ids=["normal", "protanopia", "deuteranopia", "tritanopia"],
)
def test_colours_of_classes_can_be_distinguished(sight):
    """Also from the black line of their mean; 0.02 is just noticeable in large patches."""
    found = perceived([*(class_colour(index, 10) for index in range(10)), "black"], sight)
    distance = np.linalg.norm(found[:, None] - found, axis=-1)
    assert distance[~np.eye(11, dtype=bool)].min() > 0.085
    assert np.diag(distance, 1)[:9].min() > 0.18
