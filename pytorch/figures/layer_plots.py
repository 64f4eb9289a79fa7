"""The normalized variance layer by layer."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytorch.experiment import RANDOM_WEIGHTS, SHUFFLED, VariancePair
from pytorch.figures.style import (
    CONTROL_TITLES,
    MODEL_COLOURS,
    class_colour,
    class_legend,
    group_title,
    name_layers,
    plain,
    set_title,
)
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, STRATIFIED

LINES = {ALL: "-", STRATIFIED: "--"}
CONTROL_LINES = {RANDOM_WEIGHTS: ":", SHUFFLED: "-."}


def layers_figure(pair: VariancePair, controls: Sequence[VariancePair] = ()) -> Figure:
    """Draw the layer means of both models, over all samples and stratified, and those of controls beside them.

    A band is the 95 % confidence interval of a mean, over samples. Controls are dotted, and over all samples.

    Args:
        pair: What was measured.
        controls: The same measured as a control; those of other layers are left out.
    """
    figure = Figure(figsize=(_width(pair), 5.5), layout="constrained")
    axes = figure.subplots()
    for trained_on, result in pair.results.items():
        for group, line in list(LINES.items())[: len(result.groups)]:
            label = f"{trained_on} model, {group_title(group)}"
            _draw_means(axes, result, group, MODEL_COLOURS[trained_on], label, line)
    for control in controls:
        for trained_on, found in control.results.items():
            if found.layer_names == result.layer_names:
                label = f"control, {CONTROL_TITLES[control.control]}: {trained_on} model"
                _draw_means(axes, found, ALL, MODEL_COLOURS[trained_on], label, CONTROL_LINES[control.control])
    _finish(axes, result)
    figure.legend(fontsize=8, ncols=2, loc="outside lower center", frameon=False)
    set_title(figure, pair, "mean of each layer, with its 95 % interval", result.samples)
    return figure


def _draw_means(axes: Axes, result: VarianceResult, group: str, colour: str, label: str, line: str) -> None:
    """Draw layer means as a line in the band of their confidence intervals."""
    means = list(result.layer_means(group).values())
    low, high = zip(*result.layer_intervals(group).values(), strict=True)
    axes.fill_between(range(len(means)), low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(means, line, color=colour, marker="o", markersize=3, linewidth=1.2, label=label)


def classes_figure(pair: VariancePair) -> Figure:
    """Draw the layer means of each class, and stratified, for both models on one scale."""
    figure = Figure(figsize=(_width(pair), 8), layout="constrained")
    panels = figure.subplots(len(pair.results), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (trained_on, result) in zip(panels, pair.results.items(), strict=True):
        for index, name in enumerate(result.classes):
            axes.plot(list(result.layer_means(name).values()), color=class_colour(index, len(result.classes)),
                      linewidth=1, marker=".", markersize=4, label=plain(name))  # fmt: skip
        summary = STRATIFIED if result.classes else ALL
        axes.plot(list(result.layer_means(summary).values()), "k--", label=group_title(summary))
        axes.set_title(f"{trained_on} model", fontsize=10)
        _finish(axes, result)
    panels[0].set_xlabel("")
    class_legend(panels[0], len(pair.any_result.classes))
    set_title(figure, pair, "mean of each layer, class by class", result.samples)
    return figure


def _width(pair: VariancePair) -> float:
    return max(7, 2 + 0.2 * max(len(result.layer_names) for result in pair.results.values()))


def _finish(axes: Axes, result: VarianceResult) -> None:
    axes.axhline(1, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("normalized variance\n(mean of the layer's finite units)")
    axes.grid(axis="x", color="#EEEEEE")
    name_layers(axes, result.layer_names)
