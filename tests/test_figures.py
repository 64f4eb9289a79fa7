"""Figures show what they must, and change nothing."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image
from test_result import result
from test_storage import pair, trained  # noqa: F401 (fixtures)

from pytorch.evaluation import AngleCurve
from pytorch.experiment import VariancePair
from pytorch.figures import (
    accuracy_figure,
    angle_figure,
    classes_figure,
    heatmap_figure,
    layers_figure,
    save_figure,
    training_figure,
)
from pytorch.figures.heatmaps import MARKS, scale_top


def texts(figure):
    found = [axes.get_title(loc=loc) for axes in figure.axes for loc in ("left", "center")]
    found += [label.get_text() for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    found += [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    found += [text.get_text() for legend in legends for text in legend.get_texts()]
    return "\n".join([figure.get_suptitle(), *found])


def columns(axes):
    """The colours of each column of a heatmap, (cells, 4)."""
    return [np.asarray(image.get_array())[:, 0] for image in axes.get_images()]


def test_drawing_changes_no_bit_of_a_result(pair, tmp_path):  # noqa: F811
    before = pickle.dumps(pair.to_dict())
    for group in pair.results["unrotated"].groups:
        save_figure(heatmap_figure(pair, group), tmp_path / "heatmap.png")
    save_figure(layers_figure(pair), tmp_path / "layers.png")
    save_figure(classes_figure(pair), tmp_path / "classes.png")
    assert pickle.dumps(pair.to_dict()) == before


def test_a_heatmap_has_a_column_for_each_layer_and_a_cell_for_each_unit(pair):  # noqa: F811
    figure = heatmap_figure(pair, "all")
    for axes in figure.axes[:2]:
        assert [len(column) for column in columns(axes)] == [2, 2]
    shown = texts(figure)
    for expected in ("simple_conv on digits", "2 rotations", "all samples", "unrotated model: global mean 1.500",
                     "conv  2", "linear  2", "normalized variance", "layer, in order of execution"):  # fmt: skip
        assert expected in shown


def test_a_long_title_stays_within_its_figure(pair):  # noqa: F811
    pair = VariancePair(**{**vars(pair), "model": "all_convolutional", "dataset": "folder-" + "long name " * 12})
    for figure in (heatmap_figure(pair, "cow"), layers_figure(pair), classes_figure(pair)):
        figure.draw_without_rendering()
        title = figure._suptitle.get_window_extent()
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.x1
    assert "2 rotations, aggregation mean, 3 samples" in texts(heatmap_figure(pair, "cow"))


def test_both_models_share_one_scale_in_every_heatmap(pair):  # noqa: F811
    """Equal values have equal colours in both panels and in every group."""
    values = {"unrotated": result(), "rotated": result(tv_all=np.array([2.0, 0.0, 1.0, 1.0]))}
    pair = VariancePair(**{**vars(pair), "results": values})
    unrotated, rotated = (columns(axes) for axes in heatmap_figure(pair, "all").axes[:2])
    np.testing.assert_array_equal(rotated[0][0], rotated[1][1], err_msg="NV = 1 in two layers")
    classes = columns(heatmap_figure(pair, "ant").axes[0])
    np.testing.assert_array_equal(classes[0][0], rotated[0][0], err_msg="NV = 1 in another figure")
    assert not np.array_equal(unrotated[0][0], rotated[0][0])


def test_units_off_the_scale_are_marked_and_counted(pair):  # noqa: F811
    figure = heatmap_figure(pair, "all")
    unrotated, rotated = (columns(axes) for axes in figure.axes[:2])
    np.testing.assert_allclose(unrotated[0][1], to_rgba(MARKS["0/0 (constant)"]))
    np.testing.assert_allclose(unrotated[1][0], to_rgba(MARKS["x/0 (infinite)"]))
    np.testing.assert_allclose(rotated[0][0], to_rgba(MARKS["undefined"]))
    np.testing.assert_allclose(rotated[0][1], to_rgba(MARKS["x/0 (infinite)"]))
    assert "0/0 (constant): 1" in texts(figure)
    assert "undefined: 1" in texts(figure)


def test_an_extreme_unit_is_marked_and_does_not_set_the_scale(pair):  # noqa: F811
    shape = [(1000,)]
    tv = np.linspace(0, 1, 1000)
    tv[500] = 1e6
    one = {"layer_names": ["conv"], "layer_shapes": shape, "tv_all": tv, "sv_all": np.ones(1000),
           "tv_classes": np.ones((3, 1000)), "sv_classes": np.ones((3, 1000))}  # fmt: skip
    pair = VariancePair(**{**vars(pair), "results": {name: result(**one) for name in ("unrotated", "rotated")}})
    assert scale_top(pair) <= 1
    column = columns(heatmap_figure(pair, "all").axes[0])[0]
    np.testing.assert_allclose(column[500], to_rgba(MARKS["above the scale"]))


def test_constant_units_do_not_set_the_scale(pair):  # noqa: F811
    """Their 1 is a convention; everything that varies here stays below a tenth."""
    zeros, tenth = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.0, 0.1])
    values = {
        "tv_all": tenth,
        "sv_all": zeros,
        "tv_classes": np.tile(tenth, (3, 1)),
        "sv_classes": np.tile(zeros, (3, 1)),
    }
    pair = VariancePair(**{**vars(pair), "results": {name: result(**values) for name in ("unrotated", "rotated")}})
    assert scale_top(pair) == pytest.approx(0.1)
    assert "above the scale" not in texts(heatmap_figure(pair, "all"))


def test_without_aggregation_a_cell_is_a_channel(pair):  # noqa: F811
    maps = {"layer_names": ["conv"], "layer_shapes": [(2, 1, 2)], "aggregation": "none"}
    pair = VariancePair(**{**vars(pair), "results": {name: result(**maps) for name in ("unrotated", "rotated")}})
    figure = heatmap_figure(pair, "all")
    assert [len(column) for column in columns(figure.axes[0])] == [2]
    assert "all samples, means of channels" in texts(figure)
    assert "channels of the layer" in texts(figure)


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
        {"layer_names": ["scalar", "rest"], "layer_shapes": [(), (3,)]},
    ],
    ids=["all undefined", "all invariant", "one class", "unlabelled", "one layer", "a layer of one number"],
)  # fmt: skip
def test_unusual_results_can_be_drawn(pair, changes, tmp_path):  # noqa: F811
    pair = VariancePair(**{**vars(pair), "results": {name: result(**changes) for name in ("unrotated", "rotated")}})
    for group in pair.results["rotated"].groups:
        save_figure(heatmap_figure(pair, group), tmp_path / "figure.png")
    save_figure(layers_figure(pair), tmp_path / "figure.png")
    save_figure(classes_figure(pair), tmp_path / "figure.png")


def test_names_that_mean_something_to_matplotlib_are_shown_as_they_are(pair, tmp_path):  # noqa: F811
    odd = {"classes": ["$^$", "_bg", "c"], "layer_names": ["$a", "_b"]}
    pair = VariancePair(**{**vars(pair), "results": {name: result(**odd) for name in ("unrotated", "rotated")}})
    figure = classes_figure(pair)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [r"\$^\$", " _bg", "c", "stratified by class"]
    save_figure(figure, tmp_path / "figure.png")
    heatmap = heatmap_figure(pair, "$^$")
    assert heatmap.get_suptitle().startswith(r"simple_conv on digits: class \$^\$" + "\n")
    save_figure(heatmap, tmp_path / "figure.png")


def test_layer_plots_draw_the_layer_means(pair):  # noqa: F811
    axes = layers_figure(pair).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    np.testing.assert_allclose(lines["unrotated model, all samples"], [0.75, 3])
    np.testing.assert_allclose(lines["unrotated model, stratified by class"], [1.5, 2.25])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["conv", "linear"]
    panels = classes_figure(pair).axes
    for trained_on, panel in zip(("unrotated", "rotated"), panels, strict=True):
        lines = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
        for name in ("ant", "bee", "cow"):
            expected = list(pair.results[trained_on].layer_means(name).values())
            np.testing.assert_allclose(lines[name], expected)
    assert panels[0].get_ylim() == panels[1].get_ylim()


def test_layer_plots_have_bands_and_controls_beside(pair):  # noqa: F811
    untrained = VariancePair(
        **{**vars(pair), "control": "random-weights", "results": {"untrained": result(tv_all=np.full(4, 0.5))}}
    )
    axes = layers_figure(pair, [untrained]).axes[0]
    assert len(axes.lines) == 5 + 1  # two models, two groups, the control; and the line at 1
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    low, high = pair.results["unrotated"].layer_intervals()["conv"]
    assert low in band
    assert high in band
    assert "control, before training: untrained model" in texts(layers_figure(pair, [untrained]))
    assert "before training" in texts(heatmap_figure(untrained, "all"))


def test_training_figures(trained, tmp_path):  # noqa: F811
    models = {"unrotated": trained, "rotated": trained}
    shown = texts(accuracy_figure([models]))
    assert "upright test data" in shown
    heights = [bar.get_height() for bar in accuracy_figure([models]).axes[0].patches]
    assert heights == [0.5, 0.25, 0.5, 0.25]
    assert "training loss (nats per sample)" in texts(training_figure(models))


def test_several_pairs_are_drawn_with_their_spread(trained):  # noqa: F811
    better = replace(trained, accuracy={"upright": 0.7, "rotated": 0.25})
    pairs = [{"unrotated": model, "rotated": model} for model in (trained, better)]
    figure = accuracy_figure(pairs)
    assert "mean ± sd of 2 seeds" in texts(figure)
    (whisker,) = {tuple(np.round(path.vertices[:, 1], 4)) for path in figure.axes[0].collections[0].get_paths()[:1]}
    np.testing.assert_allclose(whisker, [0.6 - np.sqrt(0.02), 0.6 + np.sqrt(0.02)], atol=1e-3)


def test_accuracy_against_angle(trained):  # noqa: F811
    """Right: 2 + 1 + 1 samples; at 0° one of the first class, at 90° one of the second."""
    both, unrotated, rotated = angle_figure([{"unrotated": trained, "rotated": trained}]).axes
    assert [line.get_ydata().tolist() for line in both.get_lines()] == [[0.25, 0.25]] * 2
    for axes in (unrotated, rotated):
        lines = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
        assert lines == {"a": [0.5, 0], "b": [0, 1], "c": [0, 0], "all": [0.25, 0.25]}


@pytest.mark.parametrize("classes", [1, 30, 200])
def test_curves_of_many_classes_leave_room_for_the_axes(trained, classes, tmp_path):  # noqa: F811
    curve = AngleCurve([0.0, 90.0], [[1] * classes, [0] * classes], [1] * classes)
    many = replace(trained, classes=[f"class number {index}" for index in range(classes)], angle_curve=curve)
    figure = angle_figure([{"unrotated": many, "rotated": many}])
    save_figure(figure, tmp_path / "angles.png")
    assert all(axes.get_position().width > 0.15 for axes in figure.axes)


def test_a_saved_picture_shows_its_columns(pair, tmp_path):  # noqa: F811
    """Open the file: the mark of the constant unit is in it."""
    path = save_figure(heatmap_figure(pair, "all"), tmp_path / "new" / "heatmap.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    expected = (np.array(to_rgba(MARKS["0/0 (constant)"]))[:3] * 255).round()
    assert (np.abs(colours - expected).max(axis=1) <= 1).sum() > 1000
