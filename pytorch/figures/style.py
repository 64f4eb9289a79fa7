"""What all figures share: the colours of the pair, titles, and axes that name layers."""

import textwrap

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytorch.experiment import RANDOM_WEIGHTS, ROTATED, SHUFFLED, UNROTATED, UNTRAINED, VariancePair
from pytorch.variance.result import ALL, STRATIFIED

MODEL_COLOURS = {UNROTATED: "#0072B2", ROTATED: "#D55E00", UNTRAINED: "#777777"}
"""Blue and vermilion of Okabe & Ito, told apart by colour-blind readers too, and grey."""

TRANSFORMATION_TITLES = {
    "rotation": "rotations",
    "rotation-disc": "rotations, masked to a disc",
    "translation": "translations",
    "scale": "scalings",
    "brightness": "levels of brightness",
}

CONTROL_TITLES = {RANDOM_WEIGHTS: "before training", SHUFFLED: "samples shuffled"}

MOST_CLASSES_NAMED, CLASSES_OF_COLUMN = 40, 15
"""In legends."""

TITLE_SIZE = 11
CHARACTERS_PER_INCH = 11
"""Of titles of that size, on the safe side."""


def group_title(group: str) -> str:
    """Name a group of samples as titles do.

    >>> group_title("7")
    'class 7'
    """
    return {ALL: "all samples", STRATIFIED: "stratified by class"}.get(group, f"class {group}")


def set_title(figure: Figure, pair: VariancePair, shown: str, samples: int) -> None:
    """Say above a figure what was measured and which part of it is shown, in lines that fit its width."""
    control = f" ({CONTROL_TITLES[pair.control]})" if pair.control else ""
    transformation = TRANSFORMATION_TITLES.get(pair.transformation, pair.transformation)
    lines = (
        f"{pair.model} on {pair.dataset}{control}: {shown}",
        f"{len(pair.any_result.transformations)} {transformation}, aggregation {pair.aggregation}, {samples:,} samples",
    )
    figure.suptitle("\n".join(fit(line, figure) for line in lines), fontsize=TITLE_SIZE)


def fit(line: str, figure: Figure) -> str:
    """Break a line of a title where it would leave the figure."""
    return textwrap.fill(plain(line), int(CHARACTERS_PER_INCH * figure.get_figwidth()))


def plain(text: str) -> str:
    r"""Write a name, whoever gave it, so that matplotlib shows it as it is.

    A dollar sign would begin a formula, and a legend leaves out what begins with an underscore.

    >>> plain("$^$"), plain("_a")
    ('\\$^\\$', ' _a')
    """
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def class_colour(index: int, count: int) -> tuple[float, ...]:
    """Colour of a class among ``count``."""
    return colormaps["tab10"](index) if count <= 10 else colormaps["turbo"](index / (count - 1))


def class_legend(axes: Axes, classes: int) -> None:
    """Name the lines of ``axes`` to its right, if there are not too many classes to tell apart."""
    if classes <= MOST_CLASSES_NAMED:
        axes.legend(title="class", fontsize=7, title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1),
                    ncols=1 + classes // CLASSES_OF_COLUMN)  # fmt: skip


def name_layers(axes: Axes, labels: list[str]) -> None:
    """Put the names of the layers under the x axis, a tick each."""
    axes.set_xticks(range(len(labels)), map(plain, labels), rotation=90, fontsize=7)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("layer, in order of execution")
