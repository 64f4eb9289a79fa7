"""Heatmaps: a column for each layer, a cell for each unit, one scale, and marks for what is off it."""

import numpy as np
import pytest
from builders import errors, of_both, result, texts
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from PIL import Image

from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures import heatmap_figure, pair_scales, save_figure
from pytorch.figures.cells import (
    ABOVE,
    CONSTANT,
    INFINITE,
    MARKS,
    ROUNDING,
    ROWS,
    UNDEFINED,
    layer_cells,
    sorted_cells,
    stack_columns,
)
from pytorch.figures.layer_axis import named_blocks
from pytorch.figures.saving import DOTS_PER_INCH


def maps(figure):
    """The axes that show cells, and those of the layer means above them."""
    shown = [axes for axes in figure.axes if axes.get_images()]
    return shown, [axes for axes in figure.axes if axes.patches and not axes.get_images() and axes.get_ylabel() != ""]


def cells(axes, counts):
    """The colours of the cells of each column, (cells, 4)."""
    picture = np.asarray(axes.get_images()[0].get_array())
    width, rest = divmod(picture.shape[1], len(counts))
    assert (len(picture), rest) == (ROWS, 0)
    return [
        picture[((np.arange(n) + 0.5) * ROWS / n).astype(int), width * column + width // 2]
        for column, n in enumerate(counts)
    ]


def test_a_heatmap_has_a_panel_for_each_model_and_one_for_their_difference(pair):
    figure = heatmap_figure(pair, "all")
    shown = texts(figure)
    for expected in ("simple_conv on digits", "2 rotations", "all samples", "unrotated model: global mean 1.500",
                     "rotated − unrotated", "conv  2", "linear  2", "NV = TV / SV", "99 % quantile"):  # fmt: skip
        assert expected in shown
    assert len(maps(figure)[0]) == 3


def test_every_unit_has_a_cell_and_equal_values_have_equal_colours(pair):
    values = {"unrotated": result(), "rotated": result(tv_all=np.array([2.0, 0.0, 1.0, 1.0]))}
    pair = VariancePair(**{**vars(pair), "results": values})
    unrotated, rotated = (cells(axes, [2, 2]) for axes in maps(heatmap_figure(pair, "all"))[0][:2])
    np.testing.assert_array_equal(rotated[0][0], rotated[1][1], err_msg="NV = 1 in two layers")
    of_class = cells(maps(heatmap_figure(pair, "ant"))[0][0], [2, 2])
    np.testing.assert_array_equal(of_class[0][0], rotated[0][0], err_msg="NV = 1 in another figure")
    assert not np.array_equal(unrotated[0][0], rotated[0][0])


def test_the_difference_is_that_of_cells_in_equal_places_around_0(pair):
    """NV 0.5, 0/0, x/0, 3 against 1, 0/0, x/0, 1: red, grey, black, blue; white is 0."""
    values = {"unrotated": result(), "rotated": result(tv_all=np.array([2.0, 0.0, 1.0, 1.0]))}
    figure = heatmap_figure(VariancePair(**{**vars(pair), "results": values}), "all")
    conv, linear = cells(maps(figure)[0][2], [2, 2])
    red, blue = conv[0], linear[1]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    np.testing.assert_allclose(conv[1], to_rgba(MARKS[CONSTANT]))
    np.testing.assert_allclose(linear[0], to_rgba(MARKS[INFINITE]), err_msg="not finite in one of them")
    same = heatmap_figure(of_both(pair), "all")
    middle = cells(maps(same)[0][2], [2, 2])[0][0]
    assert middle[:3].min() > 0.95


def test_layer_means_stand_above_their_columns(pair):
    figure = heatmap_figure(pair, "all")
    strips = [axes for axes in figure.axes if axes.patches]
    np.testing.assert_allclose(
        strips[0].patches[0].get_data().values, list(pair.results["unrotated"].layer_means().values())
    )
    whisker = strips[0].collections[0].get_segments()[0][:, 1]
    np.testing.assert_allclose(whisker, pair.results["unrotated"].layer_intervals()["conv"])


def test_units_off_the_scale_are_marked_and_counted(pair):
    figure = heatmap_figure(pair, "all")
    unrotated, rotated = (cells(axes, [2, 2]) for axes in maps(figure)[0][:2])
    np.testing.assert_allclose(unrotated[0][1], to_rgba(MARKS[CONSTANT]))
    np.testing.assert_allclose(unrotated[1][0], to_rgba(MARKS[INFINITE]))
    np.testing.assert_allclose(rotated[0][0], to_rgba(MARKS[UNDEFINED]))
    np.testing.assert_allclose(rotated[0][1], to_rgba(MARKS[INFINITE]))
    assert f"{CONSTANT}: 1 | 1 units" in texts(figure)
    assert f"{UNDEFINED}: 0 | 1 units" in texts(figure)


def of_rounding(pair):
    """Of the unrotated model the last two units are of rounding alone, with NV x/0 and 3; nothing else changes."""
    return VariancePair(**{**vars(pair), "results": {**pair.results, "unrotated": result(rounding=np.full(4, 3.0))}})


def test_units_of_rounding_alone_have_a_mark_of_their_own(pair):
    """Whatever their NV, in the model and in the difference; a unit that is constant in the other model is so there."""
    pair = of_rounding(pair)
    figure = heatmap_figure(pair, "all")
    unrotated, rotated, difference = (cells(axes, [2, 2]) for axes in maps(figure)[0])
    for column in (unrotated[1], difference[1][1:]):
        np.testing.assert_allclose(column, [to_rgba(MARKS[ROUNDING])] * len(column))
    np.testing.assert_allclose(difference[1][0], to_rgba(MARKS[CONSTANT]))
    assert not np.allclose(rotated[1][1], to_rgba(MARKS[ROUNDING]))
    assert f"{ROUNDING}: 3 | 0 units" in texts(figure)
    assert f"{INFINITE}: 0 | 1 units" in texts(figure)
    assert len(set(MARKS.values())) == len(MARKS)


def test_units_of_rounding_alone_do_not_set_the_scales(pair):
    same = {"sv_all": np.array([1.0, 1, 1, 1e-9]), "tv_classes": np.full((3, 4), 0.1), "sv_classes": np.ones((3, 4)),
            "rounding": np.full(4, 1e-8)}  # fmt: skip
    tv = {"unrotated": 9e-9, "rotated": 1e-9}
    results = {name: result(tv_all=np.array([0.1, 0.1, 0.1, last]), **same) for name, last in tv.items()}
    scales = pair_scales(VariancePair(**{**vars(pair), "results": results}))
    assert scales.top == pytest.approx(0.1)
    assert scales.difference == 1, "there is none"


def test_a_channel_is_marked_where_none_of_its_positions_varies():
    """One of constant positions, one of both kinds, one of which a position varies."""
    tv, sv = np.array([0.0, 0.0, 1e-9, 0.0, 1e-9, 1.0]), np.array([0.0, 0.0, 1e-9, 0.0, 1e-9, 1.0])
    found = result(layer_names=["conv"], layer_shapes=[(3, 1, 2)], aggregation="none", tv_all=tv, sv_all=sv,
                   tv_classes=np.tile(tv, (3, 1)), sv_classes=np.tile(sv, (3, 1)), rounding=np.full(6, 1e-8),
                   errors=errors(3, 1))  # fmt: skip
    for group in ("all", "stratified"):
        ((_, marks),) = layer_cells(found, group)
        assert marks.tolist() == [CONSTANT, ROUNDING, ""]


def test_an_extreme_unit_is_marked_and_does_not_set_the_scale(pair):
    tv = np.linspace(0, 1, ROWS)
    tv[500] = 1e6
    one = {"layer_names": ["conv"], "layer_shapes": [(ROWS,)], "tv_all": tv, "sv_all": np.ones(ROWS),
           "tv_classes": np.ones((3, ROWS)), "sv_classes": np.ones((3, ROWS))}  # fmt: skip
    pair = of_both(pair, **one)
    assert pair_scales(pair).top <= 1
    column = cells(maps(heatmap_figure(pair, "all"))[0][0], [ROWS])[0]
    np.testing.assert_allclose(column[500], to_rgba(MARKS[ABOVE]))


def test_constant_units_do_not_set_the_scale(pair):
    """Their 1 is a convention; everything that varies here stays below a tenth."""
    zeros, tenth = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.0, 0.1])
    classes = {"tv_classes": np.tile(tenth, (3, 1)), "sv_classes": np.tile(zeros, (3, 1))}
    pair = of_both(pair, tv_all=tenth, sv_all=zeros, **classes)
    assert pair_scales(pair).top == pytest.approx(0.1)
    assert ABOVE not in texts(heatmap_figure(pair, "all"))


def test_the_scale_of_differences_is_the_pairs_and_knows_no_constant_units(pair):
    """Plain: 1 - 0.5 and 1 - 3, without 0/0 and x/0; stratified there is no difference, in the two finite units."""
    values = {"unrotated": result(), "rotated": result(tv_all=np.array([2.0, 0.0, 1.0, 1.0]))}
    pair = VariancePair(**{**vars(pair), "results": values})
    stratified = pair.results["rotated"].normalized_variance("stratified")
    usable = sum(np.isfinite(units).sum() for units in stratified.values()) - 1
    assert pair_scales(pair).difference == pytest.approx(np.quantile([0.5, 2, *[0] * usable], 0.99))
    assert pair_scales(VariancePair(**{**vars(pair), "control": "random-weights", "results": {"untrained": result()}}))\
        .difference is None  # fmt: skip


def test_sorting_puts_rising_values_first_and_constant_units_last():
    values = np.array([np.inf, 2.0, 1.0, np.nan, 0.1, 0.5])
    ((found, marks),) = sorted_cells([(values, np.array(["", "", CONSTANT, "", ROUNDING, ""]))])
    np.testing.assert_array_equal(found, [0.5, 2, np.inf, np.nan, 0.1, 1])
    assert marks.tolist() == ["", "", "", "", ROUNDING, CONSTANT]


def test_sorted_heatmaps_say_so_and_compare_rank_by_rank(pair):
    """Unrotated 1, 3 and rotated 3, 1 in the last layer: no difference between equal ranks."""
    ones = {"sv_all": np.ones(4)}
    values = {
        "unrotated": result(tv_all=np.array([1.0, 1, 1, 3]), **ones),
        "rotated": result(tv_all=np.array([1.0, 1, 3, 1]), **ones),
    }
    pair = VariancePair(**{**vars(pair), "results": values})
    plain, by_rank = (cells(maps(heatmap_figure(pair, "all", sort=sort))[0][2], [2, 2]) for sort in (False, True))
    assert plain[1][0][2] < 0.5, "red: rotated varies more"
    assert by_rank[1].min() > 0.95
    assert "units sorted" in texts(heatmap_figure(pair, "all", sort=True))


def test_more_cells_than_rows_are_averaged():
    colours = np.zeros((2 * ROWS, 4))
    colours[::2] = 1
    np.testing.assert_allclose(stack_columns([colours]), 0.5)


def test_without_aggregation_a_cell_is_a_channel(pair):
    figure = heatmap_figure(of_both(pair, layer_names=["conv"], layer_shapes=[(2, 1, 2)], aggregation="none"), "all")
    assert len(cells(maps(figure)[0][0], [2])[0]) == 2
    assert "all samples, means of channels" in texts(figure)
    assert "channels" in texts(figure)


@pytest.mark.parametrize(("layers", "width"), [(2, None), (200, None), (60, 3.4), (2, 3.4)])
def test_layers_are_named_as_far_as_there_is_room_and_blocks_always(pair, layers, width, tmp_path):
    names = [f"stage{index // 20}.{index % 20}" for index in range(layers)]
    one = np.linspace(0.1, 1, layers)
    changes = {"layer_names": names, "layer_shapes": [(1,)] * layers, "tv_all": one, "sv_all": one + 1,
               "tv_classes": np.tile(one, (3, 1)), "sv_classes": np.ones((3, layers)),
               "errors": errors(3, layers)}  # fmt: skip
    figure = heatmap_figure(of_both(pair, **changes), "all", width=width)
    save_figure(figure, tmp_path / "heatmap.png")
    assert "stage0" in texts(figure)
    ticks = [label for axes in maps(figure)[0] for label in axes.get_xticklabels() if label.get_text()]
    assert all(label.get_fontsize() >= 4 for label in ticks)
    assert bool(ticks) == ((layers, width) != (60, 3.4))
    assert width is None or figure.get_figwidth() == width


@pytest.mark.parametrize("letters", range(7, 12))
def test_nothing_leaves_the_figure_however_high_the_names_of_layers_make_it(pair, letters):
    """Room for the ticks of layer means is made before the height of their axis is settled."""
    names = ["n" * letters + str(index) for index in range(16)]
    tv, sv = np.linspace(0, 4, 16), np.array([0.0] + 15 * [1.0])
    changes = {"layer_names": names, "layer_shapes": [(1,)] * 16, "tv_all": tv, "sv_all": sv,
               "tv_classes": np.tile(tv, (3, 1)), "sv_classes": np.tile(sv, (3, 1)),
               "errors": errors(3, 16)}  # fmt: skip
    figure = heatmap_figure(of_both(pair, **changes), "all")
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox(canvas.get_renderer()) for axes in figure.axes]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_blocks_are_runs_of_layers():
    names = ["conv", "layer1.0.conv1", "layer1.0.downsample.0", "layer1.1.conv1", "fc"]
    assert named_blocks(names) == [("layer1.0", 1, 2), ("layer1.1", 3, 3)]


def test_a_saved_picture_shows_its_columns(pair, tmp_path):
    """Open the file: the mark of the constant unit is in it."""
    path = save_figure(heatmap_figure(pair, "all"), tmp_path / "new" / "heatmap.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    expected = (np.array(to_rgba(MARKS[CONSTANT]))[:3] * 255).round()
    assert (np.abs(colours - expected).max(axis=1) <= 1).sum() > 1000


def test_columns_of_few_layers_do_not_run_into_each_other(pair):
    """Two layers, all of whose units have one value each: two colours."""
    changes = {"tv_all": np.array([0.5, 0.5, 1.0, 1.0]), "sv_all": np.ones(4)}
    figure = heatmap_figure(of_both(pair, **changes), "all")
    figure.set_dpi(DOTS_PER_INCH)
    axes = maps(figure)[0][0]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    left, bottom, right, top = (round(edge) for edge in axes.get_window_extent().extents)
    row = np.asarray(canvas.buffer_rgba())[-(bottom + top) // 2, left + 5 : right - 5, :3].astype(int)
    middle = len(row) // 2
    assert np.abs(row[: middle - 4] - row[0]).max() <= 1
    assert np.abs(row[middle + 4 :] - row[-1]).max() <= 1
    assert np.abs(row[0] - row[-1]).max() > 50


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_formats_for_papers_make_the_same_file_twice(pair, form, tmp_path):
    first, second = (
        save_figure(heatmap_figure(pair, "all"), tmp_path / f"{name}.{form}").read_bytes() for name in "ab"
    )
    assert first == second
    assert b"%PDF" in first[:10] if form == "pdf" else b"<svg" in first
