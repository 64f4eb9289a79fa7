"""A network in a series of states: while training, under doses of augmentation, or with several seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytorch.errors import InputError
from pytorch.figures.class_maps import add_scale, draw_table, means_label, scale_of
from pytorch.figures.layer_axis import WIDTH_OF_LETTER, name_rows
from pytorch.figures.networks import check_networks, mark_networks, set_networks_title
from pytorch.figures.style import CLASS_ROOM, POINTS_PER_INCH, both_ends, group_title, of_units, plain
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL

MEANS, AROUND, LOWEST, TALLEST = 1.5, 1.2, 1.5, 10.0
"""Heights of the global means, outside the panels, and of the lowest and tallest image, in inches."""

ROW, COLUMN, WIDEST = 0.15, 0.4, 8.0
"""Usual height of a layer and least usual width of a position, and usual width of many positions, in inches."""

NAMES, BAR = 0.3, 0.8
"""Width of the names of layers relative to the figure, and of the colour bar in inches."""

LABEL_SIZE, LINE_HEIGHT = 7, 1.2
"""Font size of the positions in points, and height of a line relative to it."""

SHORT = 4
"""Characters of a position up to which its label stays horizontal."""


def series_figure(
    results: Mapping[Any, VarianceResult],
    axis: str = "epoch",
    group: str = ALL,
    *,
    varying: bool = False,
    width: float | None = None,
) -> Figure:
    """Draw NV along a series: the global mean with its 95 % interval, and an image of layers against positions.

    Positions are in the order of the dictionary and equally far apart.

    Args:
        results: Results by position, such as the epoch, with the same layers, aggregation and transformations.
        axis: Name of the positions.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        varying: Whether the means leave out units that are constant or vary only by rounding.
        width: Width of the figure in inches; None: as the positions need.

    Raises:
        InputError: The results cannot be compared, their layers differ, or one of them does not have the group.
    """
    networks = check_networks(results, group, width)
    (first, result), *others = networks
    for name, other in others:
        if other.layer_names != result.layer_names:
            raise InputError(f"{first!r} and {name!r} of a series differ in their layers; compare() draws them")
    layers, columns = len(result.layer_names), len(networks)
    short = [(both_ends(name, CLASS_ROOM), found) for name, found in networks]
    positions = [plain(name) for name, _ in mark_networks(short, group, room=2 * CLASS_ROOM)]
    label = (1 + max(map(len, positions))) * WIDTH_OF_LETTER * LABEL_SIZE / POINTS_PER_INCH
    width = width or max(6.5, (BAR + min(max(COLUMN, label), WIDEST / columns) * columns) / (1 - NAMES))
    pitch = (width * (1 - NAMES) - BAR) / columns
    across = label <= pitch or max(map(len, positions)) <= SHORT
    height = max(LOWEST, min(ROW, TALLEST / layers) * layers)
    around = AROUND + (0 if across else label)
    figure = Figure(figsize=(width, around + MEANS + height), layout="constrained")
    means, image = figure.subplots(2, 1, sharex=True, height_ratios=[MEANS, height])
    table = np.array([[*found.layer_means(group, varying=varying).values()] for _, found in networks]).T
    norm = scale_of(table)
    draw_table(image, table, norm)
    add_scale(figure, [image], norm, means_label(table))
    name_rows(image, result.layer_names, height / layers, NAMES * width)
    step = math.ceil((label if across else LINE_HEIGHT * LABEL_SIZE / POINTS_PER_INCH) / pitch)
    image.set_xticks(range(0, columns, step), positions[::step], fontsize=LABEL_SIZE, rotation=0 if across else 90)
    image.set_xlabel(plain(axis), fontsize=8)
    _draw_global_means(means, [found for _, found in networks], group, varying)
    shown = f"NV against {axis} with 95 % intervals, {group_title(group)}"
    set_networks_title(figure, networks, group, of_units(shown, varying))
    return figure


def _draw_global_means(axes: Axes, results: Sequence[VarianceResult], group: str, varying: bool) -> None:
    low, high = np.transpose([found.global_interval(group, varying=varying) for found in results])
    axes.vlines(range(len(results)), low, high, color="#777777", lw=1.2)
    axes.plot([found.global_mean(group, varying=varying) for found in results], color="black", marker="o",
              markersize=3, lw=1.2)  # fmt: skip
    axes.axhline(1, color="#C8C8C8", lw=0.8, zorder=0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("NV, global mean", fontsize=8)
    axes.tick_params(axis="x", labelbottom=False)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(color="#EEEEEE")
