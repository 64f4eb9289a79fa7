"""A network in a series of states: while training, under doses of augmentation, or with several seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytorch.errors import InputError
from pytorch.experiments.variance_series import VarianceSeries
from pytorch.figures.class_maps import add_scale, draw_table, means_label, scale_of
from pytorch.figures.layer_axis import WIDTH_OF_LETTER, name_rows
from pytorch.figures.networks import Networks, check_networks, mark_networks, set_networks_title
from pytorch.figures.style import (
    CLASS_ROOM,
    LETTERS_PER_INCH,
    MODEL_COLOURS,
    POINTS_PER_INCH,
    both_ends,
    group_title,
    of_units,
    plain,
    wrap,
)
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL

MEANS, ACCURACY, AROUND, LOWEST, TALLEST = 1.5, 0.9, 1.2, 1.5, 10.0
"""Heights of the global means, of the accuracy, outside the panels, and of the lowest and tallest image, in inches."""

ROW, COLUMN, WIDEST = 0.15, 0.4, 8.0
"""Usual height of a layer and least usual width of a position, and usual width of many positions, in inches."""

NAMES, BAR = 0.3, 0.8
"""Width of the names of layers relative to the figure, and of the colour bar in inches."""

LABEL_SIZE, LINE_HEIGHT = 7, 1.2
"""Font size of the positions in points, and height of a line relative to it."""

TITLE_SIZE, TITLE = 9, 0.25
"""Font size of the name of a series in points, and its height in inches."""

LEAST_SHARE = 0.5
"""Least width of a series relative to the longest one next to it."""

SHORT = 4
"""Characters of a position up to which its label stays horizontal."""


@dataclass(frozen=True)
class Series:
    """One of the series next to each other.

    Attributes:
        networks: Positions as text, and results.
        title: Name of the series.
        colour: Colour of its global means.
        accuracy: Accuracy at each position, NaN where unknown; empty if it is not drawn.
    """

    networks: Networks
    title: str = ""
    colour: str = "black"
    accuracy: Sequence[float] = ()


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
    figure = _draw([Series(networks)], axis, group, varying, width)
    shown = f"NV against {axis} with 95 % intervals, {group_title(group)}"
    set_networks_title(figure, networks, group, of_units(shown, varying))
    return figure


def while_training_figure(
    series: VarianceSeries, group: str = ALL, *, varying: bool = False, width: float | None = None
) -> Figure:
    """Draw NV of both models of a pair before training and after epochs, next to each other on the same scales.

    Above are the global means with their 95 % intervals. Below is the accuracy on the training samples, as measured
    during the epoch. Epochs are equally far apart.

    Args:
        series: Measurement while training.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        varying: Whether the means leave out units that are constant or vary only by rounding.
        width: Width of the figure in inches; None: as the epochs need.

    Raises:
        InputError: ``series`` is no ``VarianceSeries``, a result does not have the group, or the width is not within
            ``WIDTHS``.
    """
    if not isinstance(series, VarianceSeries):
        raise InputError(
            f"series is of type {type(series).__name__}: draw results by epoch with series_figure(results)"
        )
    drawn = []
    for model, history in series.history.items():
        results = series.results(model)
        accuracy = [history[epoch - 1].accuracy if epoch else math.nan for epoch in results]
        networks = check_networks(results, group, width)
        drawn.append(Series(networks, series.pair.title(model), MODEL_COLOURS[model], accuracy))
    figure = _draw(drawn, "epoch", group, varying, width)
    shown = f"{series.pair.model} on {series.pair.dataset}: NV while training, {group_title(group)}"
    networks = [each for one in drawn for each in one.networks]
    set_networks_title(figure, networks, group, of_units(shown, varying))
    return figure


def _draw(drawn: Sequence[Series], axis: str, group: str, varying: bool, width: float | None) -> Figure:
    """Draw series of the same layers next to each other, without the title of the figure."""
    layers = drawn[0].networks[0][1].layer_names
    positions = [_labels(each.networks, group) for each in drawn]
    longest = max(map(len, positions))
    shares = [max(len(each), LEAST_SHARE * longest) if len(drawn) > 1 else len(each) for each in positions]
    letters = max(len(label) for labels in positions for label in labels)
    label = (1 + letters) * WIDTH_OF_LETTER * LABEL_SIZE / POINTS_PER_INCH
    total = sum(shares)
    width = width or max(6.5, (BAR + min(max(COLUMN, label), WIDEST / total) * total) / (1 - NAMES))
    room = width * (1 - NAMES) - BAR
    pitches = [room * share / total / len(each) for share, each in zip(shares, positions, strict=True)]
    across = label <= min(pitches) or letters <= SHORT
    height = max(LOWEST, min(ROW, TALLEST / len(layers)) * len(layers))
    heights = [MEANS, height, *([ACCURACY] if drawn[0].accuracy else [])]
    around = AROUND + (0 if across else label) + (TITLE if drawn[0].title else 0)
    figure = Figure(figsize=(width, around + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), len(drawn), sharex="col", sharey="row", squeeze=False,
                             height_ratios=heights, width_ratios=shares)  # fmt: skip
    tables = [np.array([[*found.layer_means(group, varying=varying).values()] for _, found in each.networks]).T
              for each in drawn]  # fmt: skip
    norm = scale_of(*tables)
    columns = zip(panels.T, drawn, tables, positions, pitches, strict=True)
    for (means, image, *beneath), each, table, labels, pitch in columns:
        draw_table(image, table, norm)
        step = math.ceil((label if across else LINE_HEIGHT * LABEL_SIZE / POINTS_PER_INCH) / pitch)
        lowest = (image, *beneath)[-1]
        lowest.set_xticks(
            range(0, len(labels), step), labels[::step], fontsize=LABEL_SIZE, rotation=0 if across else 90
        )
        lowest.set_xlabel(plain(axis), fontsize=8)
        _draw_global_means(means, each, group, varying)
        inches, word = pitch * len(labels), max(map(len, each.title.split()), default=1)
        size = min(TITLE_SIZE, 0.99 * LETTERS_PER_INCH * inches / word)
        means.set_title(wrap(each.title, size, inches), fontsize=size)
        for axes in beneath:
            _draw_accuracy(axes, each)
    panels[0, 0].set_ylim(bottom=0)  # last, because it ends automatic scaling
    panels[0, 0].set_ylabel("NV, global mean", fontsize=8)
    if drawn[0].accuracy:
        panels[-1, 0].set_ylabel("training\naccuracy", fontsize=8)
    add_scale(figure, panels[1], norm, means_label(*tables))
    name_rows(panels[1, 0], layers, height / len(layers), NAMES * width)
    return figure


def _labels(networks: Networks, group: str) -> list[str]:
    """Label positions, each in ``CLASS_ROOM`` characters and what ``mark_networks`` adds."""
    short = [(both_ends(name, CLASS_ROOM), found) for name, found in networks]
    return [plain(name) for name, _ in mark_networks(short, group, room=2 * CLASS_ROOM)]


def _draw_global_means(axes: Axes, series: Series, group: str, varying: bool) -> None:
    results = [found for _, found in series.networks]
    low, high = np.transpose([found.global_interval(group, varying=varying) for found in results])
    axes.vlines(range(len(results)), low, high, color="#777777", lw=1.2)
    axes.plot([found.global_mean(group, varying=varying) for found in results], color=series.colour, marker="o",
              markersize=3, lw=1.2)  # fmt: skip
    axes.axhline(1, color="#C8C8C8", lw=0.8, zorder=0)
    axes.tick_params(axis="x", labelbottom=False)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(color="#EEEEEE")


def _draw_accuracy(axes: Axes, series: Series) -> None:
    axes.plot(series.accuracy, color=series.colour, marker="o", markersize=3, lw=1.2)
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(color="#EEEEEE")
