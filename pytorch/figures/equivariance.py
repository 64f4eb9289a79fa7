"""Invariance and equivariance of any networks, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytorch.errors import InputError
from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.arguments import check_pair
from pytorch.figures.layer_plots import draw_means, means_along
from pytorch.figures.networks import (
    Networks,
    check_networks,
    count_networks,
    mark_networks,
    set_networks_title,
)
from pytorch.figures.style import (
    CLASS_ROOM,
    CONTROL_TITLES,
    MODEL_COLOURS,
    NARROW,
    NETWORK_LINES,
    NETWORK_MARKERS,
    group_title,
    network_label,
    network_style,
    of_units,
    set_title,
)
from pytorch.variance import VarianceResult
from pytorch.variance.equivariance import EquivarianceResult
from pytorch.variance.result import ALL

MEASURES = "invariance", "equivariance"

SHOWN = "invariance against equivariance with 95 % intervals"

ENDS = {"first layer": ("white", 6.5), "last layer": (None, 6.5)}
"""Colour inside the markers of the ends of a path, None for that of the network, and their size."""

LINEAR, LARGEST = 1.0, 5.0
"""NV up to which a logarithmic axis is linear, and largest layer mean for which all of an axis is linear."""

REFERENCE = {"color": "#C8C8C8", "lw": 0.8, "zorder": 0}
FLOOR = {"color": "#555555", "lw": 0.9, "ls": ":", "zorder": 0}


def equivariance_figure(
    results: Mapping[str, Mapping[str, VarianceResult]],
    group: str = ALL,
    *,
    varying: bool = False,
    width: float | None = None,
) -> Figure:
    """Draw the invariance of each layer against its same-equivariance, as a path of layers, and both by depth.

    Where maps are equivariant, the path is at the left; where their means are invariant, it is at the bottom. Layers
    without positions lie on the diagonal. Crosses and bands are 95 % intervals. A dotted line is the floor: the
    equivariance NV of the images themselves, which interpolation alone causes.

    Args:
        results: For each network, by name, what ``measure_variance(..., measure="both")`` returns for one aggregation.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        varying: Whether the means leave out units that are constant or vary only by rounding.
        width: Width of the figure in inches; None: the usual one.

    Raises:
        InputError: ``results`` are no such dictionary. The results cannot be compared, or one of them does not have the
            group. The width is wrong.
    """
    invariance, equivariance = _checked(results, group, width)
    styles = [network_style(index, len(invariance)) for index in range(len(invariance))]
    figure = _drawn(invariance, equivariance, styles, group, varying, width)
    shown = f"{count_networks(invariance)}: {SHOWN}, {group_title(group)}"
    set_networks_title(figure, invariance, group, of_units(shown, varying))
    return figure


def pair_equivariance_figure(
    pair: VariancePair,
    turned: VariancePair,
    before: tuple[VariancePair, VariancePair] | None = None,
    *,
    varying: bool = False,
    width: float | None = None,
) -> Figure:
    """Draw invariance and same-equivariance of both models of a pair, as ``equivariance_figure`` does.

    Args:
        pair: Measurement of the invariance.
        turned: Measurement of the equivariance of the same models.
        before: Both measurements of the control of random weights; None: it is not drawn.
        varying: Whether the means leave out units that are constant or vary only by rounding.
        width: Width of the figure in inches; None: the usual one.

    Raises:
        InputError: ``pair`` or ``turned`` is no ``VariancePair``, ``turned`` has no equivariance, or the width is
            wrong.
    """
    check_pair(pair, width)
    check_pair(turned)
    results, styles = {}, []
    for one, other in [*([before] if before else []), (pair, turned)]:
        for name, result in one.results.items():
            title = CONTROL_TITLES[one.control] if one.control else one.title(name)
            results[title] = dict(zip(MEASURES, (result, other.results[name]), strict=True))
            styles.append((MODEL_COLOURS[name], NETWORK_MARKERS[len(styles)], NETWORK_LINES[0]))
    figure = _drawn(*_checked(results, ALL, width), styles, ALL, varying, width)
    set_title(figure, pair, of_units(SHOWN, varying), pair.any_result.samples)
    return figure


def _drawn(
    invariance: Networks,
    equivariance: Networks,
    styles: Sequence[tuple[str, str, str]],
    group: str,
    varying: bool,
    width: float | None,
) -> Figure:
    """Draw networks, each with a colour, a marker and a line, without a title."""
    width = width or 9.5
    if width < NARROW:
        figure = Figure(figsize=(width, 0.9 * width + 5.5), layout="constrained")
        path, *profiles = figure.subplots(3, 1, height_ratios=[0.9 * width, 2.2, 2.2])
        profiles[0].sharex(profiles[1])
    else:
        figure = Figure(figsize=(width, 0.5 * width + 0.6), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
        path, profiles = left.subplots(), right.subplots(2, 1, sharex=True)
    floors = sorted({result.floor for _, result in equivariance if result.floor > 0})
    for (_, one), (_, other), (colour, marker, _) in zip(invariance, equivariance, styles, strict=True):
        _draw_path(path, one, other, group, varying, colour, marker)
    for axes, networks, title in zip(profiles, (invariance, equivariance), MEASURES, strict=True):
        for (name, result), (_, whole), (colour, marker, line) in zip(networks, invariance, styles, strict=True):
            layers = whole.layer_names
            draw_means(axes, result, group, colour, network_label(name), layers=layers,
                       places=np.linspace(0, 1, len(layers)), marker=marker, line=line, varying=varying)  # fmt: skip
        axes.axhline(1, **REFERENCE)
        axes.set_ylabel(f"{title} NV, layer mean", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.grid(color="#EEEEEE")
    profiles[0].tick_params(axis="x", labelbottom=False)
    profiles[1].set_xlabel("relative depth (0: first layer, 1: last)", fontsize=8)
    for floor in floors:
        path.axvline(floor, **FLOOR)
        profiles[1].axhline(floor, **FLOOR)
    _finish_path(path)
    for axis, networks in zip("yx", (invariance, equivariance), strict=True):
        means = [mean for _, result in networks for mean in result.layer_means(group, varying=varying).values()]
        if np.nanmax(means, initial=0) > LARGEST:  # as where positions differ more than samples, by padding
            getattr(path, f"set_{axis}scale")("symlog", linthresh=LINEAR)
            profiles["yx".index(axis)].set_yscale("symlog", linthresh=LINEAR)
    handles = [*profiles[0].get_lines()[: len(invariance)], *_explained(path, bool(floors))]
    figure.legend(handles=handles, fontsize=7.5, loc="outside lower center", ncols=2 if width < NARROW else 4,
                  frameon=False)  # fmt: skip
    return figure


def _checked(
    results: Mapping[str, Mapping[str, VarianceResult]], group: str, width: float | None
) -> tuple[Networks, Networks]:
    if not isinstance(results, Mapping) or not all(isinstance(both, Mapping) for both in results.values()):
        raise InputError('results must be a dictionary of results by name, each of measure="both", as {"mine": result}')
    for name, both in results.items():
        if {*both} != {*MEASURES} or not isinstance(both["equivariance"], EquivarianceResult):
            raise InputError(f'{str(name)!r} has no results of both measures: measure it with measure="both"')
    sides = ({name: both[measure] for name, both in results.items()} for measure in MEASURES)
    found = [check_networks(side, group, width) for side in sides]
    first, second = (mark_networks(networks, group, 2 * CLASS_ROOM) for networks in found)
    return first, second


def _draw_path(
    axes: Axes, one: VarianceResult, other: VarianceResult, group: str, varying: bool, colour: str, marker: str
) -> None:
    """Draw layers that have both measures at their means, with their intervals, joined in order.

    The line is dotted where layers in between have no equivariance.
    """
    (x, of_x), (y, of_y) = (means_along(result, one.layer_names, group, varying=varying) for result in (other, one))
    axes.hlines(y, *of_x, color=colour, lw=0.8, alpha=0.5)
    axes.vlines(x, *of_y, color=colour, lw=0.8, alpha=0.5)
    axes.plot(x, y, color=colour, lw=1, alpha=0.8, marker=marker, markersize=3)
    shown = np.flatnonzero(np.isfinite(x + y))
    for gap in shown[np.flatnonzero(np.diff(shown) > 1)[:, None] + [0, 1]]:
        axes.plot(x[gap], y[gap], ":", color=colour, lw=1, alpha=0.8)
    for end, (inside, size) in zip((shown[:1], shown[-1:]), ENDS.values(), strict=True):
        axes.plot(x[end], y[end], marker=marker, color=colour, markerfacecolor=inside or colour, markersize=size,
                  clip_on=False, zorder=3)  # fmt: skip


def _finish_path(axes: Axes) -> None:
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.axline((0, 0), slope=1, ls="--", **REFERENCE)
    axes.axvline(1, **REFERENCE)
    axes.axhline(1, **REFERENCE)
    axes.set_xlabel("equivariance NV, layer mean", fontsize=8)
    axes.set_ylabel("invariance NV, layer mean", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(color="#EEEEEE")


def _explained(axes: Axes, has_floor: bool) -> list:
    """Legend handles of the ends of a path, and of the floor."""
    grey = "#555555"
    handles = [
        axes.plot([], [], "o", color=grey, markerfacecolor=inside or grey, markersize=size, label=label)[0]
        for label, (inside, size) in ENDS.items()
    ]
    if has_floor:
        handles.append(axes.plot([], [], label="interpolation floor", **FLOOR)[0])
    return handles
