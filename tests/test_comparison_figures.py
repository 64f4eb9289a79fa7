"""Any number of networks in one figure, and a network in a series."""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from builders import errors, of_layers, result, texts, unlabelled
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from pytorch.errors import InputError
from pytorch.figures import compare, compare_heatmaps, save_figure, series_figure
from pytorch.figures.cells import ABOVE, MARKS, UNDEFINED

DRAW = [compare, compare_heatmaps, series_figure]
HOLLOW = "hollow: some units are constant"


def networks(count, layers=4):
    """Results of the same layers, of different NV, by name."""
    found = of_layers([3] * layers)
    return {f"network {place}": replace(found, tv_all=found.tv_all * (1 + place)) for place in range(count)}


def profile_lines(figure):
    """Lines of the layer means, by label."""
    return {line.get_label(): line for line in figure.axes[0].get_lines() if not line.get_label().startswith("_")}


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("draw", DRAW)
def test_drawing_changes_no_bit_of_a_result(draw, tmp_path):
    found = networks(3) if draw is series_figure else {**networks(2), "other": result()}
    before = pickle.dumps([each.to_dict() for each in found.values()])
    for group, varying in (("all", False), ("stratified", True), ("ant", False)):
        save_figure(draw(found, group=group, varying=varying), tmp_path / "figure.png")
    assert pickle.dumps([each.to_dict() for each in found.values()]) == before


def test_networks_of_the_same_layers_are_drawn_over_their_names():
    found = networks(3)
    figure = compare(found, "stratified")
    lines = profile_lines(figure)
    assert [*lines] == [*found]
    for (name, line), band in zip(lines.items(), figure.axes[0].collections, strict=True):
        assert line.get_xdata().tolist() == [0, 1, 2, 3]
        np.testing.assert_array_equal(line.get_ydata(), [*found[name].layer_means("stratified").values()])
        corners = band.get_paths()[0].vertices.tolist()
        for place, (low, high) in enumerate(found[name].layer_intervals("stratified").values()):
            assert [place, low] in corners
            assert [place, high] in corners
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [f"layer{place}" for place in range(4)]
    assert "block0" in texts(figure)
    title = "3 networks: NV with 95 % intervals, stratified by class\n2 transformations, aggregation mean, 6 samples"
    assert figure.get_suptitle() == title


def test_networks_of_other_layers_are_drawn_over_relative_depth():
    one_layer = result(layer_names=["only"], layer_shapes=[(4,)], errors=errors(3, 1))
    figure = compare({"short": result(), "deep": of_layers([2] * 5), "flat": one_layer})
    places = {name: line.get_xdata().tolist() for name, line in profile_lines(figure).items()}
    assert places == {"short": [0, 1], "deep": [0, 0.25, 0.5, 0.75, 1], "flat": [0.5]}
    assert figure.axes[0].get_xlabel() == "relative depth (0: first layer, 1: last)"
    assert "layer4" not in texts(figure)


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("group", ["all", "stratified", "cow"])
def test_global_means_have_their_intervals(group, varying):
    found = {"first": result(), "second": result(tv_all=np.array([0.5, 0.5, 0.5, 0.5]), sv_all=np.ones(4))}
    means = compare(found, group, varying=varying).axes[1]
    assert names(means) == ["first", "second"]
    for place, (each, line, interval) in enumerate(
        zip(found.values(), means.get_lines(), means.collections, strict=True)
    ):
        assert line.get_xydata().tolist() == [[each.global_mean(group, varying=varying), place]]
        ends = [[end, place] for end in each.global_interval(group, varying=varying)]
        np.testing.assert_array_equal(interval.get_segments(), [ends])
    assert means.yaxis.get_inverted(), "the first network is on top"


def test_units_that_do_not_vary_are_marked_or_left_out():
    """A unit of conv is 0/0, and one of linear is x/0."""
    found = {"first": result(), "second": result()}
    figure = compare(found)
    hollow = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)]
    assert [each.get_offsets().tolist() for each in hollow if len(each.get_offsets())] == [[[0, 0.75]]] * 2
    assert HOLLOW in texts(figure)
    figure = compare({"deeper": of_layers([1] * 3), **found})
    hollow = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)]
    assert hollow[0].get_offsets().tolist() == [[0, 0.75]]
    figure = compare(found, varying=True)
    assert profile_lines(figure)["first"].get_ydata().tolist() == [0.5, 3]
    assert HOLLOW not in texts(figure)
    assert "only units that vary" in figure.get_suptitle()
    assert "bars of units that vary" in compare_heatmaps(found, varying=True).get_suptitle()
    strip = next(axes for axes in compare_heatmaps(found, varying=True).axes if axes.patches)
    assert strip.patches[0].get_data().values.tolist() == [0.5, 3]
    assert series_figure(found, varying=True).axes[1].get_images()[0].get_array()[:, 0].tolist() == [0.5, 3]


@pytest.mark.parametrize(
    ("count", "width"), [(1, None), (1, 3.4), (3, None), (3, 3.4), (3, 7.0), (12, None), (12, 3.4)]
)
def test_names_stay_apart_and_within_the_figure(count, width):
    found = networks(count, 10)
    found = {f"checkpoints/of a long run with many epochs and seeds/{name}.pt": each for name, each in found.items()}
    figures = compare(found, width=width), compare_heatmaps(found, width=width), series_figure(found, width=width)
    for figure in figures:
        figure.draw_without_rendering()
        boxes = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_title("left")]
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                labels = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
                assert not any(one.overlaps(other) for one, other in itertools.pairwise(labels))
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        title = figure._suptitle.get_window_extent()
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.x1
        panels = [axes for axes in figure.axes if not hasattr(axes, "_colorbar")]
        assert all(axes.get_window_extent().width > 0.8 * figure.dpi for axes in panels), "nothing is squeezed"
    assert len(set(names(figures[0].axes[1]))) == count, "they differ at the end"
    assert width != 3.4 or figures[0].axes[0].get_window_extent().width > 0.7 * figures[0].bbox.width


def test_twelve_networks_can_be_distinguished():
    figure = compare(networks(12))
    styles = {
        (to_rgba(line.get_color()), line.get_marker(), line.get_linestyle()) for line in profile_lines(figure).values()
    }
    assert len(styles) == 12
    assert len({(colour, line) for colour, _, line in styles}) == 12, "also where markers run together"
    dots = [(to_rgba(line.get_color()), line.get_marker()) for line in figure.axes[1].get_lines()]
    assert dots == [(to_rgba(line.get_color()), line.get_marker()) for line in profile_lines(figure).values()]


@pytest.mark.parametrize("draw", DRAW)
def test_150_layers_can_be_drawn(draw, tmp_path):
    figure = draw(networks(3, 150))
    assert max(figure.get_size_inches()) < 20
    save_figure(figure, tmp_path / "figure.png")


def test_every_second_layer_is_named_where_rows_are_narrow():
    assert names(series_figure(networks(2, 150)).axes[1])[:2] == ["block0.layer0", "block0.layer1"]
    assert names(series_figure(networks(2, 300)).axes[1])[:2] == ["block0.layer0", "block0.layer2"]


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("width", [None, 3.4])
def test_results_without_finite_means_can_be_drawn(draw, width, tmp_path):
    odd = {
        "undefined": result(tv_all=np.full(4, np.nan)),
        "infinite": result(tv_all=np.array([np.nan, np.inf, 0.0, 1.0])),
        "no interval": result(errors=replace(errors(3, 2), all=np.full((3, 3), np.nan))),
        "usual": result(),
    }
    save_figure(draw(odd, width=width), tmp_path / "figure.png")
    save_figure(draw({"undefined": odd["undefined"]}, width=width), tmp_path / "figure.png")
    if draw is compare:
        assert [text.get_text() for text in draw(odd).axes[1].texts] == ["no finite unit"]
    if draw is compare_heatmaps:
        assert f"{UNDEFINED}: 5 units" in texts(draw(odd))
    if draw is series_figure:
        assert draw(odd).axes[1].get_images()[0].get_array().mask[:, 0].all()
        assert "white: no finite unit" in texts(draw(odd))
        assert "white" not in texts(draw({"usual": result()}))


@pytest.mark.parametrize("draw", DRAW)
def test_unlabelled_results_have_one_group(draw, tmp_path):
    found = unlabelled()
    save_figure(draw(found), tmp_path / "figure.png")
    with pytest.raises(InputError, match=r"^'unrotated' has no group 'stratified': choose from 'all'$"):
        draw(found, group="stratified")
    with pytest.raises(InputError, match=r"^'rotated' has no group 'stratified': choose from 'all'$"):
        draw({"labelled": result(), **unlabelled()} | {"unrotated": result()}, group="stratified")


@pytest.mark.parametrize("draw", DRAW)
def test_names_that_mean_something_to_matplotlib_are_shown_as_they_are(draw, tmp_path):
    found = {name: result(layer_names=["$a.$b", "_b"]) for name in ("$^$", "_network", "a\nb\tc", "x" * 80)}
    figure = draw(found, **({"axis": "$^$"} if draw is series_figure else {}))
    save_figure(figure, tmp_path / "figure.png")
    for name in (r"\$^\$", " _network", "a b c", "x…x"):
        assert name in texts(figure).replace("\n", "")


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"aggregation": "max"}, "'a' and 'c' differ in their aggregation: mean and max"),
        ({"dispersion": "variance"}, "'a' and 'c' differ in their dispersion: std and variance"),
        ({"transformations": ["0", "1", "2"]}, "'a' and 'c' differ in their transformations: 2 and 3"),
        ({"transformations": ["0", "2"]}, "'a' and 'c' differ in their transformations: '1' and '2'"),
    ],
)
def test_results_that_were_measured_otherwise_are_not_compared(draw, changes, told):
    with pytest.raises(InputError, match=f"^{told}$"):
        draw({"a": result(), "b": result(), "c": result(**changes)})


@pytest.mark.parametrize("width", ["3", 0, -3, 61, np.nan])
@pytest.mark.parametrize("draw", DRAW)
def test_impossible_widths_are_refused(draw, width):
    with pytest.raises(InputError, match=f"^width is {width!r}: it must be a number of inches, 2 to 60, or None$"):
        draw({"a": result()}, width=width)


@pytest.mark.parametrize("draw", DRAW)
def test_what_is_no_dictionary_of_results_is_refused(draw):
    with pytest.raises(InputError, match=r"^no results to draw: the dictionary is empty$"):
        draw({})
    for wrong in (result(), [result()], {"mean": {"a": result()}}):
        with pytest.raises(InputError, match="results must be a dictionary of results by name"):
            draw(wrong)


def test_a_title_names_what_results_have_in_common():
    def title(**changes):
        return compare({"a": result(precision="bf16", tolerance=0.1), "b": result(**changes)}).get_suptitle()

    assert title(precision="bf16", tolerance=0.1).endswith("mean, precision bf16, tolerance 0.1, 6 samples")
    assert title(samples=7).endswith("aggregation mean")


def test_names_tell_controls_and_other_numbers_of_samples():
    shuffled, fewer = result(shuffled=True), result(samples=5)
    assert names(compare({"a": result(), "b": shuffled}).axes[1]) == ["a", "b, shuffled"]
    assert names(compare({"a": result(), "b": fewer}).axes[1]) == ["a, 6 samples", "b, 5 samples"]
    assert names(compare({"a": result(), "b": fewer}, "ant").axes[1]) == ["a", "b"], "2 samples of each"
    long = {"a": result(), "a network of a very long name, of seed 1": replace(fewer, shuffled=True)}
    for draw in DRAW:
        shown = " ".join(texts(draw(long)).split())
        assert ", shuffled, 5 samples" in shown
        assert "a, 6 samples" in shown


@pytest.mark.parametrize("draw", DRAW)
def test_nothing_is_stratified_where_no_class_has_two_samples(draw):
    alone = result(class_counts=np.array([1, 1, 1]))
    with pytest.raises(
        InputError, match=r"^'b' has no class of two samples, so its stratified NV is undefined: choose 'a"
    ):
        draw({"a": result(), "b": alone}, group="stratified")


def heat_panels(figure):
    return [axes for axes in figure.axes if axes.get_images()]


def cell(axes, row, column):
    """Colour of a cell of two columns of two cells."""
    picture = np.asarray(axes.get_images()[0].get_array())
    return picture[(2 * row + 1) * picture.shape[0] // 4, (2 * column + 1) * picture.shape[1] // 4]


def test_heatmaps_share_one_scale():
    """NV of 1 in a network of NV up to 1, and in one of NV up to 4, stratified."""
    ones, part = np.ones(4), {"sv_classes": np.ones((3, 4)), "tv_classes": np.ones((3, 4))}
    low = result(tv_all=np.array([0.25, 0.5, 1, 1]), sv_all=ones, **part)
    high = result(tv_all=np.array([4, 2, 1, 0.5]), sv_all=ones, **part)
    first, second = heat_panels(compare_heatmaps({"low": low, "high": high}))
    np.testing.assert_array_equal(cell(first, 0, 1), cell(second, 0, 1))
    np.testing.assert_array_equal(cell(first, 1, 0), cell(second, 1, 1))
    assert not np.array_equal(cell(first, 0, 1), cell(second, 1, 0))
    assert not np.array_equal(to_rgba(MARKS[ABOVE]), cell(second, 1, 0)), "the scale is not that of the first alone"
    strips = [axes for axes in compare_heatmaps({"low": low, "high": high}).axes if axes.patches]
    assert strips[0].get_ylim() == strips[1].get_ylim()
    assert "low: global mean 0.688" in texts(compare_heatmaps({"low": low, "high": high}))
    (first,) = heat_panels(compare_heatmaps({"low": replace(low, tv_all=np.array([1, 0.5, 1, 1]))}, sort=True))
    assert cell(first, 0, 0)[0] < cell(first, 1, 0)[0], "sorted"


def test_layers_are_named_once_where_they_are_alike():
    def named(figure):
        return [bool(axes.get_xticklabels()) for axes in heat_panels(figure)]

    assert named(compare_heatmaps(networks(5, 20))) == [False, False, False, True, True]
    assert named(compare_heatmaps({"a": result(), "b": of_layers([2] * 3)})) == [True, True]
    wider = {**networks(4, 20), "wider": of_layers([4] * 20)}
    assert named(compare_heatmaps(wider)) == [True] * 5, "the number of units is part of the name"


def test_marks_of_many_heatmaps_are_counted_together():
    undefined = result(tv_all=np.array([np.nan, np.nan, 1, 1]))
    found = {str(place): undefined for place in range(4)}
    assert f"{UNDEFINED}: 8 units" in texts(compare_heatmaps(found))
    del found["3"]
    figure = compare_heatmaps(found)
    assert f"{UNDEFINED}: 2 | 2 | 2 units" in texts(figure)
    np.testing.assert_allclose(cell(heat_panels(figure)[0], 0, 0), to_rgba(MARKS[UNDEFINED]))


@pytest.mark.parametrize("group", ["all", "stratified", "bee"])
def test_a_series_is_an_image_of_layers_against_positions_below_the_global_means(group):
    found = dict(zip((0, 1, 10), networks(3).values(), strict=True))
    figure = series_figure(found, "epoch", group)
    means, image = figure.axes[:2]
    expected = np.transpose([[*each.layer_means(group).values()] for each in found.values()])
    np.testing.assert_array_equal(image.get_images()[0].get_array(), expected)
    assert names(image) == found[0].layer_names
    assert [label.get_text() for label in image.get_xticklabels()] == ["0", "1", "10"]
    assert image.get_xlabel() == "epoch"
    line = means.get_lines()[0]
    np.testing.assert_array_equal(line.get_ydata(), [each.global_mean(group) for each in found.values()])
    segments = means.collections[0].get_segments()
    np.testing.assert_array_equal(
        [segment[:, 1] for segment in segments], [each.global_interval(group) for each in found.values()]
    )
    assert means.get_xlim() == image.get_xlim() == (-0.5, 2.5)


def test_positions_of_a_series_stay_legible():
    def labels(positions, **look):
        figure = series_figure(dict.fromkeys(positions, result()), **look)
        return [(label.get_text(), label.get_rotation()) for label in figure.axes[1].get_xticklabels()]

    assert labels(range(100), width=3.4)[:2] == [("0", 0), ("12", 0)]
    assert labels(["none", "weak rotation"], width=6) == [("none", 0), ("weak rotation", 0)]
    assert labels(["none", "weak rotation"], width=3.4) == [("none", 90), ("weak rotation", 90)]


def test_a_series_has_the_same_layers():
    with pytest.raises(InputError, match=r"^'0' and '2' of a series differ in their layers; compare\(\) draws them$"):
        series_figure({0: result(), 1: result(), 2: of_layers([4])})
