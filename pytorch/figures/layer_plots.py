"""Variances layer by layer: lines with confidence bands."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import RANDOM_WEIGHTS, SHUFFLED
from pytorch.figures.arguments import check_pair
from pytorch.figures.layer_axis import name_blocks, name_layers
from pytorch.figures.style import (
    CLASS_ROOM,
    CONTROL_TITLES,
    MODEL_COLOURS,
    MOST_CLASSES_NAMED,
    TITLE_ROOM,
    class_colour,
    class_label,
    class_legend,
    group_title,
    legend_below,
    model_title,
    of_units,
    set_title,
)
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, STRATIFIED

LINES = {ALL: "-", STRATIFIED: "--"}
CONTROL_LINES = {RANDOM_WEIGHTS: LINES, SHUFFLED: {ALL: "-."}}
"""Groups drawn for each control, and their line styles."""

FEW_DECADES = 2
"""A logarithmic axis of fewer decades has ticks at 2 and 5 as well."""

HOLLOW = "hollow: some units are constant or rounding only"
"""Meaning of a hollow marker."""

STILL = "units that never\nvary (%)"
"""Label of the panel of constant units and of those that vary by rounding alone."""

HOLLOW_STYLE = {"s": 9, "facecolors": "white", "linewidths": 0.7, "zorder": 3}

MARGINS = 1.0
"""Width outside the layers, in inches."""

BARS = 0.8
"""Width of the bars of a layer together, relative to the distance between two layers."""


def layers_figure(
    pair: VariancePair,
    controls: Sequence[VariancePair] = (),
    width: float | None = None,
    *,
    varying: bool = False,
) -> Figure:
    """Draw the layer means of NV (over all samples, stratified), TV and SV of both models, with controls.

    A band is the 95 % confidence interval of a mean, over samples. The band is corrected for the bias of NV and the
    mean is not, so it may be at the upper edge of its band. A hollow marker means that some units of the layer are
    constant or vary by rounding alone, so their NV is no ratio. TV and SV, over all samples, are in units of the
    activations, on logarithmic axes. If any unit never varies over all samples, a last panel shows how many in each
    layer.

    Args:
        pair: Measurement.
        controls: Controls of the measurement; those with other layers are left out.
        width: Width of the figure in inches; None: as its layers need.
        varying: Whether means leave out units that are constant or vary only by rounding.

    Raises:
        InputError: ``pair`` is no ``VariancePair``, or the width is not within ``WIDTHS``.
    """
    check_pair(pair, width)
    still = any(sum(still_units(result, ALL).values()) for result in pair.results.values())
    figure = Figure(figsize=(width or _usual_width(pair), 7.5 + still), layout="constrained")
    panels = figure.subplots(3 + still, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1, 1] + [1] * still})
    ratio, *absolute = panels[:3]
    hollow = False
    for trained_on, result in pair.results.items():
        colour = MODEL_COLOURS[trained_on]
        for group in result.summary_groups:
            label = f"{model_title(pair, trained_on)}, {group_title(group)}"
            draw_means(ratio, result, group, colour, label, line=LINES[group], varying=varying)
            hollow |= not varying and hollow_markers(ratio, result, group, colour)
        for axes, quantity in zip(absolute, ("transformation", "sample"), strict=True):
            draw_means(axes, result, ALL, colour, quantity=quantity, varying=varying)
    if still:
        _draw_still_units(panels[3], pair)
    if hollow:
        explain_hollow(ratio)
    for control in controls:
        for trained_on, found in control.results.items():
            lines = CONTROL_LINES[control.control].items() if found.layer_names == result.layer_names else ()
            for group, line in lines:
                if group in found.summary_groups:
                    shown = f"{model_title(control, trained_on)}, {group_title(group)}"
                    samples = f", {found.samples:,} samples" if found.samples != result.samples else ""
                    ratio.plot(list(found.layer_means(group, varying=varying).values()), line,
                               color=MODEL_COLOURS[trained_on], lw=0.9, alpha=0.8,
                               label=f"control, {CONTROL_TITLES[control.control]}{samples}: {shown}")  # fmt: skip
    _finish(ratio, "NV, layer mean")
    ratio.set_ylim(bottom=0)
    for axes, name in zip(absolute, ("TV", "SV"), strict=True):
        _scale_by_decades(axes)
        axes.set_ylabel(f"{name}, layer mean", fontsize=8)
    for axes in panels[1:]:
        axes.grid(axis="x", color="#EEEEEE")
        axes.tick_params(axis="y", labelsize=7)
    _name(panels, pair, figure)
    figure.align_ylabels(panels)
    legend_below(figure, ratio, most=2, size=7.5)
    set_title(figure, pair, of_units("layer means with 95 % intervals", varying), result.samples)
    return figure


def classes_figure(pair: VariancePair, width: float | None = None, *, varying: bool = False) -> Figure:
    """Draw the layer means of each class, and stratified, for both models on one scale.

    Args:
        pair: Measurement on labelled samples.
        width: Width of the figure in inches; None: as its layers need.
        varying: Whether means leave out units that are constant or vary only by rounding.

    Raises:
        InputError: ``pair`` is no ``VariancePair``, or the width is not within ``WIDTHS``.
    """
    check_pair(pair, width)
    figure = Figure(figsize=(width or _usual_width(pair) + 0.5, 1.2 + 3.2 * len(pair.results)), layout="constrained")
    panels = figure.subplots(len(pair.results), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    hollow, named = False, len(pair.any_result.classes) <= MOST_CLASSES_NAMED
    for axes, (trained_on, result) in zip(panels, pair.results.items(), strict=True):
        for index, name in enumerate(result.classes):
            colour = class_colour(index, len(result.classes))
            axes.plot(list(result.layer_means(name, varying=varying).values()), color=colour, linewidth=1, marker=".",
                      markersize=4, label=class_label(name))  # fmt: skip
            hollow |= named and not varying and hollow_markers(axes, result, name, colour)
        summary = result.summary_groups[-1]
        axes.plot(list(result.layer_means(summary, varying=varying).values()), "k--", label=group_title(summary))
        _finish(axes, f"NV, {model_title(pair, trained_on, TITLE_ROOM)}")
    panels[0].set_ylim(bottom=0)  # last, because it ends automatic scaling
    if hollow:
        explain_hollow(panels[0], CLASS_ROOM)
    class_legend(panels[0], len(pair.any_result.classes))
    _name(panels, pair, figure)
    set_title(figure, pair, of_units("layer means, class by class", varying), result.samples)
    return figure


def draw_means(
    axes: Axes,
    result: VarianceResult,
    group: str,
    colour: str,
    label: str | None = None,
    *,
    quantity: str = "normalized",
    line: str = "-",
    layers: Sequence[str] | None = None,
    places: Sequence[float] | None = None,
    marker: str = "o",
    varying: bool = False,
) -> None:
    """Draw layer means as a line inside the band of their confidence intervals.

    Args:
        axes: Axes to draw on.
        result: Result to draw.
        group: Group of samples, as in ``VarianceResult.layer_means``.
        colour: Colour of the line and the band.
        label: Label in the legend.
        quantity: Quantity, as in ``VarianceResult.layer_means``.
        line: Style of the line.
        layers: Layers in order, with a gap for each that the result lacks; None: those of the result.
        places: Places of the layers; None: 0, 1, ...
        marker: Marker of a layer.
        varying: Whether to leave out units that are constant or vary only by rounding.
    """
    means, (low, high) = means_along(result, layers or result.layer_names, group, quantity, varying=varying)
    if quantity != "normalized":
        low = np.where(low > 0, low, np.nan)  # a logarithmic axis would cut a band that reaches 0 askew
    places = range(len(means)) if places is None else places
    axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(places, means, line, color=colour, marker=marker, markersize=2.5, linewidth=1.2, label=label)


def means_along(
    result: VarianceResult, layers: Sequence[str], group: str, quantity: str = "normalized", *, varying: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of layers, (L,), and their confidence intervals, (2, L); NaN for those the result lacks."""
    means = result.layer_means(group, quantity, varying=varying)
    intervals = result.layer_intervals(group, quantity, varying=varying)
    return (
        np.array([means.get(name, np.nan) for name in layers]),
        np.transpose([intervals.get(name, (np.nan, np.nan)) for name in layers]),
    )


def hollow_markers(
    axes: Axes,
    result: VarianceResult,
    group: str,
    colour: str | tuple[float, ...],
    places: Sequence[float] | None = None,
    marker: str = "o",
) -> bool:
    """Make markers hollow where units are constant or vary by rounding alone; return whether there is any."""
    still, means = still_units(result, group), result.layer_means(group).items()
    found = [(place, mean) for place, (name, mean) in enumerate(means) if still[name]]
    if found:
        chosen, values = zip(*found, strict=True)
        chosen = chosen if places is None else np.asarray(places)[list(chosen)]
        axes.scatter(chosen, values, marker=marker, edgecolors=[colour], **HOLLOW_STYLE)
    return bool(found)


def still_units(result: VarianceResult, group: str) -> dict[str, int]:
    """Count the units of each layer that are constant or vary by rounding alone."""
    rounding = result.rounding_units(group)
    return {name: int((units | rounding[name]).sum()) for name, units in result.constant_units(group).items()}


def explain_hollow(axes: Axes, room: int = len(HOLLOW)) -> PathCollection:
    """Add an entry to the legend, in lines of ``room`` characters, and return its handle."""
    return axes.scatter([], [], edgecolors="#555555", label=textwrap.fill(HOLLOW, room), **HOLLOW_STYLE)


def _draw_still_units(axes: Axes, pair: VariancePair) -> None:
    """Draw the share of units of each layer that never vary, over all samples, in bars side by side."""
    width = BARS / len(pair.results)
    for index, (trained_on, result) in enumerate(pair.results.items()):
        sizes = [math.prod(shape) for shape in result.layer_shapes]
        shares = [
            100 * count / max(size, 1) for count, size in zip(still_units(result, ALL).values(), sizes, strict=True)
        ]
        places = np.arange(len(shares)) + (index + 0.5) * width - BARS / 2
        axes.bar(places, shares, width, color=MODEL_COLOURS[trained_on], alpha=0.8)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(STILL, fontsize=8)


def _scale_by_decades(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with few ticks, if any value is above 0."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return
    axes.set_yscale("log", nonpositive="mask")
    few = np.log10(values.max() / values.min()) < FEW_DECADES
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if few else LogLocator(numticks=4))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _usual_width(pair: VariancePair) -> float:
    layers = len(pair.any_result.layer_names)
    return max(7, MARGINS + min(0.2, 15 / layers) * layers)


def _finish(axes: Axes, label: str) -> None:
    axes.axhline(1, color="#C8C8C8", linewidth=0.8, zorder=0)
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="x", color="#EEEEEE")


def _name(panels: Sequence[Axes], pair: VariancePair, figure: Figure) -> None:
    """Name blocks above the first panel and layers below the last."""
    layers = pair.any_result.layer_names
    pitch = (figure.get_figwidth() - MARGINS) / (len(layers) + 1)
    name_blocks(panels[0], layers, pitch)
    name_layers(panels[-1], layers, pitch)
