"""What all figures share: the colours of the pair, titles, and axes that name layers."""

import textwrap

from matplotlib import color_sequences, colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS, ROTATED, SHUFFLED, UNROTATED, UNTRAINED
from pytorch.variance.result import ALL, STRATIFIED

MODEL_COLOURS = {UNROTATED: "#0072B2", ROTATED: "#D55E00", UNTRAINED: "#777777"}
"""Blue and vermilion of Okabe & Ito, told apart by colour-blind readers too, and grey."""

NETWORK_COLOURS, NETWORK_MARKERS = ("#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9"), "osD^vPX"
"""Of different networks: those of Okabe & Ito that no model of a pair has."""

SCALE_COLOURS, DIFFERENCE_COLOURS = "viridis", "RdBu_r"
"""Colour maps that colour-blind readers can follow: of the normalized variance, and of its differences around 0."""

MEAN_STEPS, SCALE_STEPS = 3, 5
"""At most so many steps between the ticks of layer means above columns, and of scales of colours. A number left to
matplotlib follows the length of an axis, which the layout settles after making room for the labels of other ticks."""

TRANSFORMATION_TITLES = {
    "rotation": "rotations",
    "rotation-disc": "rotations, masked to a disc",
    "translation": "translations",
    "scale": "scalings",
    "brightness": "levels of brightness",
    "transformation": "transformations",
}

CONTROL_TITLES = {RANDOM_WEIGHTS: "before training", SHUFFLED: "samples shuffled"}

MOST_CLASSES_NAMED, CLASSES_OF_COLUMN = 40, 15
"""In legends."""

CLASS_ROOM = 24
"""Letters of the name of a class, or a model, in legends, titles and at axes."""

TITLE_SIZE, SMALL_TITLE_SIZE = 11, 8.5
LETTERS_PER_INCH = 121
"""Over the font size in points: how many letters of a title fit into an inch, on the safe side."""

NARROW = 5.0
"""In inches: figures below this width have small titles."""


def group_title(group: str) -> str:
    """Name a group of samples as titles do.

    >>> group_title("7")
    'class 7'
    """
    return {ALL: "all samples", STRATIFIED: "stratified by class"}.get(group, f"class {group}")


def set_title(figure: Figure, pair: VariancePair, shown: str, samples: int) -> None:
    """Say above a figure what was measured and which part of it is shown, in lines that fit its width."""
    control = f" ({CONTROL_TITLES[pair.control]})" if pair.control else ""
    lines = f"{pair.model} on {pair.dataset}{control}: {shown}", f"{measured_title(pair)}, {samples:,} samples"
    figure.suptitle("\n".join(fit(line, figure) for line in lines), fontsize=title_size(figure))


def measured_title(pair: VariancePair) -> str:
    """Say under what a pair was measured, and how, as far as that is not the usual way."""
    result = pair.any_result
    parts = [
        f"{len(result.transformations)} {transformation_title(pair)}",
        f"aggregation {pair.aggregation}",
        f"dispersion {result.dispersion}" if result.dispersion != "std" else "",
        f"precision {result.precision}" if result.precision != "fp32" else "",
        f"tolerance {result.tolerance:g}" if result.tolerance is not None else "",
    ]
    return ", ".join(filter(None, parts))


def model_title(pair: VariancePair, model: str) -> str:
    """Name one of the models of a pair as figures do."""
    return class_label(pair.title(model))


def difference_title(pair: VariancePair, how: str = "") -> str:
    """Say which model of a pair is subtracted from which, and what the colours of the difference tell."""
    first, second = (class_label(pair.name(name)) for name in PAIR)
    return f"{second} − {first}{how} (blue: less)"


def transformation_title(pair: VariancePair) -> str:
    """Name the transformations of a measurement, in the plural."""
    return TRANSFORMATION_TITLES.get(pair.transformation, pair.transformation)


def title_size(figure: Figure) -> float:
    """Font size of the title of a figure, in points."""
    return TITLE_SIZE if figure.get_figwidth() >= NARROW else SMALL_TITLE_SIZE


def fit(line: str, figure: Figure) -> str:
    """Break a line of a title where it would leave the figure."""
    return wrap(plain(line), title_size(figure), figure.get_figwidth())


def wrap(text: str, size: float, inches: float) -> str:
    r"""Break a text in letters of so many points where it would be wider than so many inches.

    >>> wrap("control, samples shuffled: rotated model", size=7.5, inches=2)
    'control, samples shuffled:\nrotated model'
    """
    return textwrap.fill(text, int(LETTERS_PER_INCH / size * inches))


def finish_scale(bar: Colorbar, label: str) -> None:
    """Name a scale of colours, and give it its ticks."""
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=7)
    bar.locator = MaxNLocator(SCALE_STEPS)


def plain(text: str) -> str:
    r"""Write a name, whoever gave it, so that matplotlib shows it as it is.

    A dollar sign would begin a formula, and a legend leaves out what begins with an underscore.

    >>> plain("$^$"), plain("_a")
    ('\\$^\\$', ' _a')
    """
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def class_label(name: str, room: int = CLASS_ROOM) -> str:
    """Name a class, or a model, in ``room`` characters at most.

    >>> class_label("automobile, red", 8), class_label("cat")
    ('automob…', 'cat')
    """
    name = " ".join(name.split())
    return plain(name if len(name) <= room else f"{name[: room - 1]}…")


def class_colour(index: int, count: int) -> tuple[float, ...]:
    """Colour of a class among ``count``; ten can be told apart by colour-blind readers (Petroff 2021)."""
    return to_rgba(color_sequences["petroff10"][index]) if count <= 10 else colormaps["turbo"](index / (count - 1))


def class_legend(axes: Axes, classes: int) -> None:
    """Name the lines of ``axes``, beside it or below the figure, if there are not too many classes to tell apart."""
    if classes > MOST_CLASSES_NAMED:
        return
    figure = axes.get_figure()
    if figure.get_figwidth() < NARROW:
        figure.legend(*axes.get_legend_handles_labels(), title="class", fontsize=6, title_fontsize=7, frameon=False,
                      loc="outside lower center", ncols=4)  # fmt: skip
    else:
        axes.legend(title="class", fontsize=7, title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1),
                    ncols=1 + classes // CLASSES_OF_COLUMN)  # fmt: skip
