"""Networks compared with each other, and variance compared with accuracy."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.arguments import check_pair, check_width
from pytorch.figures.layer_axis import name_blocks, name_layers
from pytorch.figures.layer_plots import draw_means, explain_hollow, hollow_markers
from pytorch.figures.networks import draw_profiles
from pytorch.figures.style import (
    MODEL_COLOURS,
    NARROW,
    legend_below,
    measured_title,
    model_title,
    of_units,
    plain,
    set_lines,
    set_title,
)
from pytorch.variance.result import GROUP_TITLES

CURVE_WIDTH, MARGINS = 3.2, 1.3
"""Width of the accuracy panel, and width outside the layers, in inches."""


def depth_figure(pairs: Sequence[VariancePair], width: float | None = None, *, varying: bool = False) -> Figure:
    """Draw the layer means of NV of several networks against depth, from the first layer to the last.

    The upper row is over all samples, the lower row stratified. Unrotated models are on the left, rotated on the right;
    of other networks, untrained ones on the left, trained ones on the right. A marker is hollow as in
    ``layers_figure``.

    Args:
        pairs: One measurement per network, with the same data set, transformations and aggregation.
        width: Width of the figure in inches.
        varying: Whether means leave out units that are constant or vary only by rounding.

    Raises:
        InputError: One is no ``VariancePair``, or the width is not within ``WIDTHS``.
        ValueError: They are not all of the same models, such as unrotated and rotated ones.
    """
    check_width(width)
    for pair in pairs:
        check_pair(pair)
    models = list(pairs[0].results)
    if not all(pair.is_complete and list(pair.results) == models for pair in pairs):
        raise ValueError("networks are drawn against depth if each has the same models, as unrotated and rotated ones")
    groups = [group for group in GROUP_TITLES if all(group in pair.any_result.summary_groups for pair in pairs)]
    hollow = False
    figure = Figure(figsize=(width or max(6, 4.5 * len(models)), 1.3 + 2.7 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(models), sharex=True, sharey=True, squeeze=False)
    for row, group in zip(panels, groups, strict=True):
        for axes, trained_on in zip(row, models, strict=True):
            networks = [(plain(pair.model), pair.results[trained_on]) for pair in pairs]
            hollow |= draw_profiles(axes, networks, group, depth=100, varying=varying)
        row[0].set_ylabel("NV, layer mean\n" + GROUP_TITLES[group], fontsize=8)
    panels[0, 0].set_ylim(bottom=0)  # last, because it ends automatic scaling
    for axes, trained_on in zip(panels[0], models, strict=True):
        axes.set_title(f"{trained_on} models", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("depth (%)", fontsize=8)
    if hollow:
        explain_hollow(panels[0, 0])
    legend_below(figure, panels[0, 0], most=4)
    results = [pair.any_result for pair in pairs]
    measured = measured_title(results, pairs[0].transformation, (result.samples for result in results))
    set_lines(figure, of_units(f"networks on {pairs[0].dataset}: NV against depth", varying), measured)
    return figure


def accuracy_and_layers_figure(pair: VariancePair, width: float | None = None, *, varying: bool = False) -> Figure:
    """Draw accuracy against the angle of the test data next to the layer means of NV, which explain it.

    A marker is hollow as in ``layers_figure``.

    Args:
        pair: Measurement with angle curves.
        width: Width of the figure in inches.
        varying: Whether means leave out units that are constant or vary only by rounding.

    Raises:
        InputError: ``pair`` is no ``VariancePair``, or the width is not within ``WIDTHS``.
        ValueError: The accuracy of a model is unknown, as for results of other networks.
    """
    check_pair(pair, width)
    if pair.angle_curves.keys() != pair.results.keys():
        raise ValueError("the accuracy against the angle of the test data is not known of what was measured")
    layers = pair.any_result.layer_names
    width = width or max(9, CURVE_WIDTH + MARGINS + min(0.2, 10 / len(layers)) * len(layers))
    narrow = width < NARROW
    figure = Figure(figsize=(width, 6.5 if narrow else 4), layout="constrained")
    curve, means = (
        figure.subplots(2, 1) if narrow else figure.subplots(1, 2, width_ratios=[CURVE_WIDTH, width - CURVE_WIDTH])
    )
    hollow, group = False, pair.any_result.summary_groups[-1]
    for trained_on, result in pair.results.items():
        colour = MODEL_COLOURS[trained_on]
        found = pair.angle_curves[trained_on]
        curve.plot(found.degrees, 100 * found.accuracy, color=colour, marker="o", ms=2.5, lw=1.2)
        draw_means(means, result, group, colour, model_title(pair, trained_on), varying=varying)
        hollow |= not varying and hollow_markers(means, result, group, colour)
    if hollow:
        explain_hollow(means)
    curve.set_xlabel("turn of the test data (degrees)", fontsize=8)
    curve.set_ylabel("accuracy (%)", fontsize=8)
    curve.set_xticks(range(-180, 181, 90))
    curve.set_ylim(0, 102)
    means.set_ylabel(f"NV, layer mean, {group}", fontsize=8)
    means.set_ylim(bottom=0)
    means.axhline(1, color="#C8C8C8", lw=0.8, zorder=0)
    for axes in (curve, means):
        axes.grid(color="#EEEEEE")
        axes.tick_params(labelsize=7)
    pitch = (width - MARGINS - (0 if narrow else CURVE_WIDTH)) / (len(layers) + 1)
    name_blocks(means, layers, pitch)
    name_layers(means, layers, pitch)
    legend_below(figure, means, most=3)
    shown = of_units("accuracy against angle, and the variance of the layers", varying)
    set_title(figure, pair, shown, result.samples)
    return figure
