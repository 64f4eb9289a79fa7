"""Any number of networks, compared by their layer means and global means."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pytorch.errors import InputError
from pytorch.experiments.variance_pair import transformation_kind
from pytorch.figures.arguments import check_width
from pytorch.figures.layer_axis import name_blocks, name_layers
from pytorch.figures.layer_plots import draw_means, explain_hollow, hollow_markers
from pytorch.figures.style import (
    CLASS_ROOM,
    NARROW,
    SCALE_STEPS,
    both_ends,
    group_title,
    measured_title,
    network_label,
    network_style,
    of_units,
    set_lines,
)
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, STRATIFIED

Networks = Sequence[tuple[str, VarianceResult]]

DOTS, MARGINS = 3.4, 1.0
"""Width of the panel of global means with the names, and width outside the layers, in inches."""

PROFILE, LINE, AROUND_DOTS = 4.0, 0.13, 0.9
"""Heights of the panel of layers, of a line of a name, and of what is around the global means, in inches."""


def check_networks(results: Mapping[str, VarianceResult], group: str, width: float | None = None) -> Networks:
    """Check that results can be drawn together in a width, and return them with their names as text.

    Raises:
        InputError: They are no dictionary of results, or there are none. Their transformations, aggregation or
            dispersion differ, or one does not have the group. The width is not within ``WIDTHS``.
    """
    check_width(width)
    if not isinstance(results, Mapping) or not all(isinstance(each, VarianceResult) for each in results.values()):
        raise InputError('results must be a dictionary of results by name, each of a single aggregation, as '
                         '{"mine": result}')  # fmt: skip
    if not results:
        raise InputError("no results to draw: the dictionary is empty")
    networks = [(str(name), result) for name, result in results.items()]
    (first_name, first), *others = networks
    for name, other in others:
        for field in ("aggregation", "dispersion", "transformations"):
            one, two = getattr(first, field), getattr(other, field)
            if one != two:
                one, two = _first_difference(one, two) if field == "transformations" else (one, two)
                raise InputError(f"{first_name!r} and {name!r} differ in their {field}: {one} and {two}")
    for name, result in networks:
        check_stratified(name, result, group)
        if group not in result.groups:
            common = [each for each in first.groups if all(each in other.groups for _, other in networks)]
            raise InputError(f"{name!r} has no group {group!r}: choose from {', '.join(map(repr, common))}")
    return networks


def check_stratified(name: str, result: VarianceResult, group: str) -> None:
    """Check that stratified NV has a value, if that is asked for.

    Raises:
        InputError: No class has two samples.
    """
    if group == STRATIFIED and result.classes and STRATIFIED not in result.summary_groups:
        raise InputError(f"{name!r} has no class of two samples, so its stratified NV is undefined: choose 'all'")


def compare(
    results: Mapping[str, VarianceResult], group: str = ALL, *, varying: bool = False, width: float | None = None
) -> Figure:
    """Draw the layer means of NV of any networks against depth, and their global means.

    Bands and lines are 95 % intervals over samples. If all networks have the same layers, these are named; otherwise
    depth is relative, from the first layer (0) to the last (1). A marker is hollow as in ``layers_figure``. Names tell
    shuffled controls and, where they differ, numbers of samples.

    Args:
        results: Results by name, with the same aggregation and transformations, as from ``measure_variances``.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        varying: Whether the means leave out units that are constant or vary only by rounding.
        width: Width of the figure in inches; None: as the layers need.

    Raises:
        InputError: The results cannot be compared, or one of them does not have the group.
    """
    networks = mark_networks(check_networks(results, group, width), group, room=2 * CLASS_ROOM)
    layers = networks[0][1].layer_names
    alike = all(result.layer_names == layers for _, result in networks)
    most = max(len(result.layer_names) for _, result in networks)
    width = width or DOTS + max(5, MARGINS + min(0.2, 15 / most) * most)
    labels = [network_label(name) for name, _ in networks]
    lines = 1 + max(label.count("\n") for label in labels)
    means_height = AROUND_DOTS + max(3, (lines + 0.5) * len(labels)) * LINE
    if narrow := width < NARROW:
        figure = Figure(figsize=(width, PROFILE + means_height), layout="constrained")
        parts = figure.subfigures(2, 1, height_ratios=[PROFILE, means_height])  # so that names need not align them
        profile, means = (part.subplots() for part in parts)
    else:
        figure = Figure(figsize=(width, max(PROFILE, 0.5 + means_height)), layout="constrained")
        profile, means = figure.subplots(1, 2, width_ratios=[width - DOTS, DOTS])
    hollow = draw_profiles(profile, networks, group, depth=None if alike else 1, varying=varying)
    profile.set_ylabel("NV, layer mean", fontsize=8)
    profile.set_ylim(bottom=0)
    if alike:
        pitch = (width - MARGINS - (0 if narrow else DOTS)) / (len(layers) + 1)
        name_blocks(profile, layers, pitch)
        name_layers(profile, layers, pitch)
    else:
        profile.set_xlabel("relative depth (0: first layer, 1: last)", fontsize=8)
    _draw_global_means(means, networks, labels, group, varying)
    if hollow:
        figure.legend(handles=[explain_hollow(profile)], fontsize=7.5, loc="outside lower left", frameon=False)
    shown = f"{count_networks(networks)}: NV with 95 % intervals, {group_title(group)}"
    set_networks_title(figure, networks, group, of_units(shown, varying))
    return figure


def draw_profiles(
    axes: Axes, networks: Networks, group: str, *, depth: float | None = None, varying: bool = False
) -> bool:
    """Draw layer means against depth, one line per network.

    Args:
        axes: Axes to draw on.
        networks: Names in the legend, and results.
        group: Group of samples.
        depth: Depth of the last layer; the first has depth 0. None: the layers are at 0, 1, ...
        varying: Whether to leave out units that are constant or vary only by rounding; otherwise their layers have
            hollow markers.

    Returns:
        Whether there is any hollow marker.
    """
    hollow = False
    for index, (name, result) in enumerate(networks):
        (colour, marker, line), places = network_style(index, len(networks)), _places(result, depth)
        draw_means(axes, result, group, colour, name, places=places, marker=marker, line=line, varying=varying)
        hollow |= not varying and hollow_markers(axes, result, group, colour, places, marker)
    axes.axhline(1, color="#C8C8C8", lw=0.8, zorder=0)
    axes.grid(color="#EEEEEE")
    axes.tick_params(labelsize=7)
    return hollow


def set_networks_title(figure: Figure, networks: Networks, group: str, shown: str) -> None:
    """Put a title above a figure of networks: what is shown, and how it was measured."""
    results = [result for _, result in networks]
    samples = (result.sample_count(group) for result in results)
    measured = measured_title(results, transformation_kind(results[0].transformations), samples)
    set_lines(figure, shown, measured)


def mark_networks(networks: Networks, group: str, room: int) -> Networks:
    """Add to names that samples were shuffled and, where they differ, how many there were; in ``room`` characters."""
    counts = [result.sample_count(group) for _, result in networks]
    marks = [
        ", shuffled" * result.shuffled + (f", {count:,} samples" if len(set(counts)) > 1 else "")
        for (_, result), count in zip(networks, counts, strict=True)
    ]
    return [
        (both_ends(name, room - len(mark)) + mark, result)
        for (name, result), mark in zip(networks, marks, strict=True)
    ]  # fmt: skip


def count_networks(networks: Networks) -> str:
    """Say how many networks there are."""
    return f"{len(networks)} networks" if len(networks) > 1 else "1 network"


def _places(result: VarianceResult, depth: float | None) -> np.ndarray:
    layers = len(result.layer_names)
    if depth is None:
        return np.arange(layers)
    return np.linspace(0, depth, layers) if layers > 1 else np.array([depth / 2])


def _draw_global_means(axes: Axes, networks: Networks, labels: Sequence[str], group: str, varying: bool) -> None:
    for index, (_, result) in enumerate(networks):
        colour, marker, _ = network_style(index, len(networks))
        mean, interval = (found(group, varying=varying) for found in (result.global_mean, result.global_interval))
        if np.isnan(mean):
            axes.text(0.03, index, "no finite unit", transform=axes.get_yaxis_transform(), fontsize=7, va="center")
        axes.hlines(index, *interval, color=colour, lw=1.2)
        axes.plot(mean, index, marker, color=colour, markersize=4)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(SCALE_STEPS))
    axes.set_xlabel("NV, global mean", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(color="#EEEEEE")


def _first_difference(one: Sequence[str], two: Sequence[str]) -> tuple[str, str]:
    """Name what differs between transformations: their number, or the first that differs."""
    if len(one) != len(two):
        return str(len(one)), str(len(two))
    return next((repr(first), repr(second)) for first, second in zip(one, two, strict=True) if first != second)
