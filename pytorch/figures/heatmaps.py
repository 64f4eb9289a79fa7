"""Heatmaps of a pair and its difference, or of any networks: a column for each layer, a cell for each unit."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.arguments import check_pair
from pytorch.figures.cells import (
    ABOVE,
    CONSTANT,
    INFINITE,
    MARKS,
    ROUNDING,
    Cells,
    Scales,
    colour_cells,
    common_top,
    differences,
    layer_cells,
    pair_scales,
    sorted_cells,
    stack_columns,
)
from pytorch.figures.layer_axis import name_blocks, name_layers
from pytorch.figures.networks import (
    check_networks,
    check_stratified,
    count_networks,
    mark_networks,
    set_networks_title,
)
from pytorch.figures.style import (
    DIFFERENCE_COLOURS,
    MEAN_STEPS,
    MODEL_COLOURS,
    SCALE_COLOURS,
    TITLE_ROOM,
    difference_title,
    finish_scale,
    group_title,
    model_title,
    network_style,
    plain,
    set_title,
)
from pytorch.names import EQUIVARIANCE
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL

MARGINS, WIDEST_ROW = 1.3, 13.0
"""Width of a panel outside its columns, and greatest width of panels side by side, in inches."""

NARROWEST_PITCH, NARROWEST_PANEL = 0.09, 2.2
"""Least width of columns and of panels side by side, in inches; narrower panels go below each other."""

TITLE_SIZE, TITLED = 9, 2.75
"""Font size of the title of a panel, in points, and the width in inches below which it shrinks."""

TITLE_LETTERS = 40
"""Characters of a title that fit into a panel of that width, or in smaller letters into a narrower one."""

USUAL_PANEL = 2.4
"""Least width of a panel, in inches, unless the width of the figure is given."""

MARK_LABEL, MOST_COUNTS = 1.9, 3
"""Width of the legend entry of a mark, in inches, and the greatest number of counts in it."""

NAMES = 0.6
"""Height of the names of layers below a row of panels, in inches."""

NARROWEST_GAPPED = 0.05
"""Least width of columns with gaps, in inches; in narrower ones gaps would wash out the colours."""

SHARPNESS, SHARP_WIDTH = 12, 1200
"""Least number of pixels across a column and across the picture, because smoothing blurs neighbouring pixels."""


@dataclass(frozen=True)
class Panel:
    """One of the pictures of a heatmap.

    Attributes:
        title: What is shown, and a remark that gets its own line if both do not fit on one.
        colour: Colour of the layer means.
        picture: RGBA, (rows, layers, 4).
        means: Mean of each layer.
        intervals: Confidence interval of each mean; None: unknown.
        counts: Number of cells with each mark; empty for a difference.
    """

    title: tuple[str, str]
    colour: str
    picture: np.ndarray
    means: list[float]
    intervals: list[tuple[float, float]] | None
    counts: dict[str, int]


def heatmap_figure(
    pair: VariancePair,
    group: str = ALL,
    *,
    varying: bool = False,
    scales: Scales | None = None,
    width: float | None = None,
    sort: bool = False,
) -> Figure:
    """Draw the normalized variance of every unit of both models on one colour scale, and their difference.

    Columns are layers in order of execution. All are equally high, so layers with more units have smaller cells. All
    heatmaps of a pair share one scale; see ``pair_scales``. The difference is between cells in equal places. Above each
    panel are the layer means with 95 % intervals. Without aggregation a cell is a channel, the mean of its finite
    positions (a summary).

    Args:
        pair: Measurement or control.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        varying: Whether the means leave out units that are constant or vary only by rounding.
        scales: Result of ``pair_scales(pair)``, if already known; for a control, those of its pair.
        width: Width of the figure in inches; None: as its layers need. Panels are side by side if that leaves columns
            wide enough for their names, otherwise below each other.
        sort: Whether to sort the units of each layer by value, separately in each model. The difference is then
            between equal ranks.

    Raises:
        InputError: ``pair`` is no ``VariancePair``, or the width is not within ``WIDTHS``. The group is stratified, and
            no class has two samples.
    """
    check_pair(pair, width)
    check_stratified(pair.model, pair.any_result, group)
    scales = scales or pair_scales(pair)
    norm = Normalize(0, scales.top)
    cells = {name: layer_cells(result, group) for name, result in pair.results.items()}
    if sort:
        cells = {name: sorted_cells(found) for name, found in cells.items()}
    panels = [
        _result_panel(result, model_title(pair, name, TITLE_ROOM), MODEL_COLOURS[name], group, cells[name], norm,
                      varying)
        for name, result in pair.results.items()
    ]  # fmt: skip
    scale = None
    if scales.difference is not None and pair.has_both:
        scale = Normalize(-scales.difference, scales.difference)
        panels.append(_difference_panel(pair, panels, cells, scale, sort))
    figure = _draw_panels(panels, [pair.any_result] * len(panels), width, norm, scale)
    set_title(figure, pair, _shown(pair.any_result, group, varying, sort), pair.any_result.sample_count(group))
    return figure


def compare_heatmaps(
    results: Mapping[str, VarianceResult],
    group: str = ALL,
    *,
    varying: bool = False,
    width: float | None = None,
    sort: bool = False,
) -> Figure:
    """Draw the normalized variance of every unit of any networks, side by side on one colour scale.

    Cells, colours and layer means are those of ``heatmap_figure``. The scale is common to all networks.

    Args:
        results: Results by name, with the same aggregation and transformations; their layers may differ.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        varying: Whether the means leave out units that are constant or vary only by rounding.
        width: Width of the figure in inches; None: as the layers need.
        sort: Whether to sort the units of each layer by value.

    Raises:
        InputError: The results cannot be compared, or one of them does not have the group.
    """
    networks = mark_networks(check_networks(results, group, width), group, TITLE_ROOM - 1)  # a colon follows
    norm, panels = Normalize(0, common_top(results.values())), []
    for index, (name, result) in enumerate(networks):
        cells = layer_cells(result, group)
        colour, _, _ = network_style(index, len(networks))
        cells = sorted_cells(cells) if sort else cells
        panels.append(_result_panel(result, plain(name), colour, group, cells, norm, varying))
    figure = _draw_panels(panels, [result for _, result in networks], width, norm, wrapped=True)
    shown = f"{count_networks(networks)}: {_shown(networks[0][1], group, varying, sort)}"
    set_networks_title(figure, networks, group, shown)
    return figure


def _shown(result: VarianceResult, group: str, varying: bool, sort: bool) -> str:
    cell = ", means of channels" if result.aggregation == "none" else ""
    bars = ", bars of units that vary" if varying else ""
    return group_title(group) + cell + bars + (", units sorted" if sort else "")


def _result_panel(
    result: VarianceResult, title: str, colour: str, group: str, cells: Cells, norm: Normalize, varying: bool
) -> Panel:
    coloured = [colour_cells(values, marks, norm, colormaps[SCALE_COLOURS]) for values, marks in cells]
    return Panel(
        title=(f"{title}:", f"global mean {result.global_mean(group, varying=varying):.3f}"),
        colour=colour,
        picture=stack_columns([colours for colours, _ in coloured]),
        means=list(result.layer_means(group, varying=varying).values()),
        intervals=list(result.layer_intervals(group, varying=varying).values()),
        counts={mark: sum(counts[mark] for _, counts in coloured) for mark in MARKS},
    )


def _difference_panel(
    pair: VariancePair, panels: list[Panel], cells: dict[str, Cells], scale: Normalize, sort: bool
) -> Panel:
    colours = colormaps[DIFFERENCE_COLOURS]
    columns = []
    both = tuple(cells.values())
    for values, (_, first), (_, second) in zip(differences(*both), *both, strict=True):
        picture = colours(scale(np.nan_to_num(values)))
        picture[np.isnan(values)] = to_rgba(MARKS[INFINITE])
        for mark in (ROUNDING, CONSTANT):
            picture[(first == mark) | (second == mark)] = to_rgba(MARKS[mark])
        columns.append(picture)
    before, after = (np.array(panel.means) for panel in panels)
    return Panel(
        title=difference_title(pair, " by rank" if sort else ""),
        colour="#555555",
        picture=stack_columns(columns),
        means=list(after - before),
        intervals=None,
        counts={},
    )


def _draw_panels(
    panels: list[Panel],
    results: Sequence[VarianceResult],
    width: float | None,
    norm: Normalize,
    scale: Normalize | None = None,
    *,
    wrapped: bool = False,
) -> Figure:
    """Draw panels with their colour scales and marks.

    Args:
        panels: Panels; with a scale of differences, the last is a difference.
        results: Result whose layers a panel has, for each panel.
        width: Width of the figure in inches; None: as the layers need.
        norm: Scale of NV.
        scale: Scale of differences.
        wrapped: Whether panels that do not fit into a row fill several; otherwise they go below each other.
    """
    alike = len({(*result.layer_names, *result.layer_shapes) for result in results}) == 1
    layers = max(len(result.layer_names) for result in results)
    figure, axes, room = _canvas(layers, len(panels), width, wrapped, named_rows=not alike)
    pitches = [room / (len(result.layer_names) + 1) for result in results]
    for panel, places, result, pitch in zip(panels, axes, results, pitches, strict=True):
        _draw_panel(panel, *places, result, pitch)
    _share_scale_of_means([strip for (strip, _), panel in zip(axes, panels, strict=True) if panel.counts])
    _label_axes(axes, results, pitches, alike)
    zero = "equivariant" if results[0].aggregation == EQUIVARIANCE else "invariant"
    _add_scales(figure, axes, norm, scale, zero)
    _add_marks(figure, panels, "channels" if results[0].aggregation == "none" else "units")
    return figure


def _canvas(
    layers: int, panels: int, width: float | None, wrapped: bool, named_rows: bool
) -> tuple[Figure, list[tuple[Axes, Axes]], float]:
    """Make the figure; return it with the axes of means and cells of each panel, and the width of a panel."""
    usual = next(pitch for most, pitch in ((24, 0.22), (80, 0.15), (float("inf"), 0.085)) if layers <= most)

    def fits(columns: int) -> bool:
        if width is None:
            return columns * max(USUAL_PANEL, MARGINS / 2 + layers * usual) <= WIDEST_ROW
        return width / columns >= max(NARROWEST_PANEL, NARROWEST_PITCH * (layers + 1) + MARGINS / columns)

    columns = next(filter(fits, range(panels, 1, -1) if wrapped else [panels]), 1)
    rows = -(-panels // columns)
    columns = -(-panels // rows)  # full rows, but for the last
    if width is None:
        width = max(6.5, MARGINS + columns * max(USUAL_PANEL, 0.35 + layers * usual))
    height = 5.2 if rows == 1 else 0.9 + 2.6 * rows + (NAMES * (rows - 1) if named_rows else 0)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, gridspec_kw={"height_ratios": [1, 5] * rows})
    figure.get_layout_engine().set(hspace=0.01, h_pad=0.02, wspace=0.02)
    places = list(zip(grid[0::2].ravel(), grid[1::2].ravel(), strict=True))
    for unused in places[panels:]:
        for axes in unused:
            axes.remove()
    return figure, places[:panels], (width - MARGINS) / columns


def _draw_panel(panel: Panel, strip: Axes, cells: Axes, result: VarianceResult, pitch: float) -> None:
    layers = range(len(panel.means))
    picture = np.repeat(panel.picture, max(SHARPNESS, SHARP_WIDTH // len(panel.means)), axis=1)
    cells.imshow(picture, extent=(-0.5, len(panel.means) - 0.5, 1, 0), aspect="auto", interpolation_stage="rgba")
    if pitch >= NARROWEST_GAPPED:
        cells.vlines(np.arange(1, len(panel.means)) - 0.5, 0, 1, color="white", lw=min(2, 10 * pitch))
    cells.set_yticks([])
    means = np.asarray(panel.means)
    strip.stairs(np.nan_to_num(means), np.arange(len(panel.means) + 1) - 0.5, fill=True, color=panel.colour,
                 alpha=0.8)  # fmt: skip
    if panel.intervals is not None:
        low, high = np.transpose(panel.intervals)
        strip.vlines(layers, low, high, color="black", lw=0.8)
    strip.axhline(0, color="#444444", lw=0.6)
    unknown = np.flatnonzero(np.isnan(means))
    if unknown.size:
        strip.plot(unknown, np.zeros(unknown.size), "x", color="black", ms=3, clip_on=False)
    strip.set_xticks([])
    for axes in (strip, cells):
        axes.set_xlim(-0.5, len(panel.means) - 0.5)
    strip.yaxis.set_major_locator(MaxNLocator(MEAN_STEPS))
    strip.tick_params(axis="y", labelsize=6, length=2, pad=1)
    strip.spines[["top", "right", "bottom"]].set_visible(False)
    blocks = name_blocks(strip, result.layer_names, pitch)
    room = pitch * (len(panel.means) + 1) / TITLED
    title, letters = " ".join(panel.title), int(TITLE_LETTERS * max(1, room))
    if len(title) > letters:
        title = "\n".join(textwrap.fill(part, letters) for part in panel.title)
    strip.set_title(title, fontsize=TITLE_SIZE * min(1, room), loc="left", pad=15 if blocks else 4)


def _share_scale_of_means(strips: Sequence[Axes]) -> None:
    top = max(strip.get_ylim()[1] for strip in strips) or 1
    for strip in strips:
        strip.set_ylim(0, top)


def _label_axes(
    axes: list[tuple[Axes, Axes]], results: Sequence[VarianceResult], pitches: Sequence[float], alike: bool
) -> None:
    """Name axes at the edges of the figure; and layers there too, or below each panel if they are not alike."""
    columns = axes[0][0].get_subplotspec().get_gridspec().ncols
    for index, ((strip, cells), result, pitch) in enumerate(zip(axes, results, pitches, strict=True)):
        if not alike or index + columns >= len(axes):
            shapes = ["×".join(map(str, shape)) for shape in result.layer_shapes]
            name_layers(cells, result.layer_names, pitch, shapes)
        else:
            cells.set_xticks([])
        if cells.get_subplotspec().is_first_col():
            cells.set_ylabel("channels" if result.aggregation == "none" else "units", fontsize=8)
            strip.set_ylabel("layer\nmean", fontsize=7)


def _add_scales(
    figure: Figure, axes: list[tuple[Axes, Axes]], norm: Normalize, scale: Normalize | None, zero: str
) -> None:
    maps = [cells for _, cells in axes]
    beside = maps[0].get_subplotspec().get_gridspec().ncols > 1
    place = {"location": "bottom", "aspect": 45, "fraction": 0.05} if beside else {"aspect": 25, "fraction": 0.03}
    colours = colormaps[SCALE_COLOURS].with_extremes(over=MARKS[ABOVE])
    models = maps if scale is None else maps[:-1]
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=models, extend="max", pad=0.02, **place)
    finish_scale(bar, f"NV = TV / SV (0: {zero}; ends at the 99 % quantile)")
    if scale is not None:
        place["aspect"] = 22 if beside else 12
        bar = figure.colorbar(ScalarMappable(scale, DIFFERENCE_COLOURS), ax=maps[-1:], extend="both", pad=0.02, **place)
        finish_scale(bar, "difference of NV")


def _add_marks(figure: Figure, panels: list[Panel], what: str) -> None:
    """Explain the marks that occur, with the number of cells that have them, in each panel or in many together."""
    shown = []
    for mark, colour in MARKS.items():
        counts = [panel.counts[mark] for panel in panels if panel.counts]
        if any(counts):
            label = " | ".join(map(str, counts if len(counts) <= MOST_COUNTS else [sum(counts)]))
            shown.append(Patch(facecolor=colour, edgecolor="#666666", label=f"{mark}: {label} {what}"))
    if shown:
        columns = min(len(shown), max(1, int(figure.get_figwidth() / MARK_LABEL)))
        figure.legend(handles=shown, loc="outside lower left", ncols=columns, fontsize=7, frameon=False,
                      handlelength=1, columnspacing=1.2, borderpad=0)  # fmt: skip
