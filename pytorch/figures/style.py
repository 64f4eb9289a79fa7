"""What all figures share: the colours of the pair, titles, and axes that name layers."""

from matplotlib.axes import Axes

from pytorch.experiment import ROTATED, UNROTATED, VariancePair
from pytorch.variance.result import ALL, STRATIFIED

MODEL_COLOURS = {UNROTATED: "#0072B2", ROTATED: "#D55E00"}
"""Blue and vermilion of Okabe & Ito, told apart by colour-blind readers too."""


def group_title(group: str) -> str:
    """Name a group of samples as titles do.

    >>> group_title("7")
    'class 7'
    """
    return {ALL: "all samples", STRATIFIED: "stratified by class"}.get(group, f"class {group}")


def pair_title(pair: VariancePair) -> str:
    """Say what was measured: model, data set, transformations, aggregation, number of samples."""
    result = pair.results[UNROTATED]
    return (
        f"{pair.model} on {pair.dataset}: {len(result.transformations)} {pair.transformation}s, "
        f"aggregation {pair.aggregation}, {result.samples:,} samples"
    )


def name_layers(axes: Axes, labels: list[str]) -> None:
    """Put the names of the layers under the x axis, a tick each."""
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("layer, in order of execution")
