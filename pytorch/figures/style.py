"""Colours, titles and legends that all figures share."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import RANDOM_WEIGHTS, ROTATED, SHUFFLED, TRAINED, UNROTATED, UNTRAINED
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, STRATIFIED

MODEL_COLOURS = {UNROTATED: "#0072B2", ROTATED: "#D55E00", UNTRAINED: "#777777", TRAINED: "#0072B2"}
"""Blue and vermilion of Okabe & Ito, which colour-blind readers can distinguish, and grey."""

NETWORK_COLOURS, NETWORK_MARKERS = ("#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9"), "osD^vPX"
"""Colours and markers of a few networks: the colours of Okabe & Ito that no model of a pair has."""

NETWORK_LINES = "-", "--", ":"
"""Lines of networks that share a colour."""

CLASS_COLOURS = (
    "#004BFF", "#00D2C3", "#5A2D00", "#A596FF", "#69781E", "#3C0F5A", "#C39678", "#005A4B", "#B4C300", "#D24B87",
)  # fmt: skip
"""Colours of up to ten classes, chosen numerically to differ from each other, from black and from white.

The least CIEDE2000 difference is 25, and 16 for colour-blind readers as simulated by Machado et al. (2009). Classes
next to each other in a legend differ by at least 46 and 24.
"""

SCALE_COLOURS, DIFFERENCE_COLOURS = "viridis", "RdBu_r"
"""Colour maps of the normalized variance and of its differences; colour-blind readers can follow both."""

MEAN_STEPS, SCALE_STEPS = 3, 5
"""Greatest number of steps between ticks, for layer means and for colour scales.

Matplotlib would choose it by the length of an axis, which the layout settles only after it has placed other labels.
"""

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
"""Greatest number of classes in a legend, and in a column of it."""

CLASS_ROOM, TITLE_ROOM = 24, 40
"""Characters of a name of a class or model: in legends and at axes, and of a model in titles, which wrap."""

POINTS_PER_INCH = 72

TITLE_SIZE, SMALL_TITLE_SIZE = 11, 8.5
LEGEND_MARK = 0.6
"""Width of a mark in a legend with the space around it, in inches."""

LETTERS_PER_INCH = 121
"""Divided by the font size in points: the number of letters that safely fit into an inch."""

NARROW = 5.0
"""Width in inches below which figures have small titles."""


def group_title(group: str) -> str:
    """Name a group of samples for a title.

    >>> group_title("7")
    'class 7'
    """
    return {ALL: "all samples", STRATIFIED: "stratified by class"}.get(group, f"class {group}")


def set_title(figure: Figure, pair: VariancePair, shown: str, samples: int) -> None:
    """Put a title above a figure: what was measured, and which part is shown."""
    control = f" ({CONTROL_TITLES[pair.control]})" if pair.control else ""
    measured = measured_title([pair.any_result], pair.transformation, [samples])
    set_lines(figure, f"{pair.model} on {pair.dataset}{control}: {shown}", measured)


def of_units(shown: str, varying: bool) -> str:
    """Say what is shown, and whether it leaves out units that never vary.

    >>> of_units("layer means", varying=True)
    'layer means, only units that vary'
    """
    return f"{shown}, only units that vary" if varying else shown


def set_lines(figure: Figure, *lines: str) -> None:
    """Put lines above a figure as its title."""
    figure.suptitle("\n".join(fit(line, figure) for line in lines), fontsize=title_size(figure))


def measured_title(results: Sequence[VarianceResult], transformation: str, samples: Iterable[int]) -> str:
    """Describe how results were measured: transformations, aggregation, and settings that are not the defaults.

    Args:
        results: Results with the same transformations and aggregation; settings that differ are left out.
        transformation: Name of the transformations.
        samples: Numbers of samples, left out if they differ.
    """
    first, counts = results[0], set(samples)
    dispersions, precisions, tolerances = (
        {getattr(result, name) for result in results} for name in ("dispersion", "precision", "tolerance")
    )
    parts = [
        f"{len(first.transformations)} {TRANSFORMATION_TITLES.get(transformation, transformation)}",
        first.units_title,
        f"dispersion {first.dispersion}" if dispersions == {first.dispersion} != {"std"} else "",
        f"precision {first.precision}" if precisions == {first.precision} != {"fp32"} else "",
        f"tolerance {first.tolerance:g}" if tolerances == {first.tolerance} != {None} else "",
        f"{counts.pop():,} samples" if len(counts) == 1 else "",
    ]
    return ", ".join(filter(None, parts))


def model_title(pair: VariancePair, model: str, room: int = CLASS_ROOM) -> str:
    """Name one of the models of a pair in at most ``room`` characters."""
    return class_label(pair.title(model), room)


def difference_title(pair: VariancePair, how: str = "") -> tuple[str, str]:
    """Describe a difference: which model is subtracted from which, and the meaning of the colours."""
    first, second = (class_label(pair.name(name), TITLE_ROOM) for name in pair.results)
    return f"{second} − {first}{how}", "(blue: less)"


def title_size(figure: Figure) -> float:
    """Return the font size of the title of a figure, in points."""
    return TITLE_SIZE if figure.get_figwidth() >= NARROW else SMALL_TITLE_SIZE


def fit(line: str, figure: Figure) -> str:
    """Break a line of a title to fit the figure."""
    return wrap(plain(line), title_size(figure), figure.get_figwidth())


def wrap(text: str, size: float, inches: float) -> str:
    r"""Break a text with a font size in points to fit a width in inches.

    >>> wrap("control, samples shuffled: rotated model", size=7.5, inches=2)
    'control, samples shuffled:\nrotated model'
    """
    return textwrap.fill(text, int(LETTERS_PER_INCH / size * inches))


def legend_below(figure: Figure, axes: Axes, most: int, size: float = 8) -> None:
    """Put a legend of what ``axes`` show below a figure, in up to ``most`` columns that fit; lines wrap."""
    handles, labels = axes.get_legend_handles_labels()
    width = figure.get_figwidth()
    widths = [LEGEND_MARK + TextPath((0, 0), label, size).get_extents().width / POINTS_PER_INCH for label in labels]

    def needs(columns: int) -> float:
        return sum(max(part) for part in np.array_split(widths, columns))  # as a legend fills its columns

    columns = next((count for count in range(min(most, len(labels)), 1, -1) if needs(count) <= width), 1)
    labels = [wrap(label, size, width - LEGEND_MARK) for label in labels] if columns == 1 else labels
    figure.legend(handles, labels, fontsize=size, ncols=columns, loc="outside lower center", frameon=False)


def finish_scale(bar: Colorbar, label: str) -> None:
    """Label a colour bar and set its ticks."""
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=7)
    bar.locator = MaxNLocator(SCALE_STEPS)


def plain(text: str) -> str:
    r"""Escape a name so that matplotlib shows it literally.

    A dollar sign would start a formula, and a legend omits labels that start with an underscore.

    >>> plain("$^$"), plain("_a")
    ('\\$^\\$', ' _a')
    """
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def class_label(name: str, room: int = CLASS_ROOM) -> str:
    """Shorten the name of a class or model to at most ``room`` characters.

    >>> class_label("automobile, red", 8), class_label("cat")
    ('automob…', 'cat')
    """
    name = " ".join(name.split())
    return plain(name if len(name) <= room else f"{name[: room - 1]}…")


def both_ends(name: str, room: int) -> str:
    """Shorten a name in the middle to at most ``room`` characters, because paths and variants differ at their ends.

    >>> both_ends("runs/seed 1/epoch_10.pt", 12)
    'runs/…_10.pt'
    """
    name = " ".join(name.split())
    return name if len(name) <= room else f"{name[: (room - 1) // 2]}…{name[-(room // 2) :]}"


def network_label(name: str) -> str:
    """Write the name of a network on at most two lines."""
    shorter = (textwrap.wrap(both_ends(name, room), CLASS_ROOM) for room in range(2 * CLASS_ROOM, 0, -1))
    return plain("\n".join(next(lines for lines in shorter if len(lines) <= 2)))


def network_style(index: int, count: int) -> tuple[str, str, str]:
    """Return colour, marker and line of a network among ``count``."""
    colours = NETWORK_COLOURS if count <= len(NETWORK_COLOURS) else CLASS_COLOURS
    lines = NETWORK_LINES[index // len(colours) % len(NETWORK_LINES)]
    return colours[index % len(colours)], NETWORK_MARKERS[index % len(NETWORK_MARKERS)], lines


def class_colour(index: int, count: int) -> tuple[float, ...]:
    """Return the colour of a class among ``count``."""
    return to_rgba(CLASS_COLOURS[index]) if count <= len(CLASS_COLOURS) else colormaps["turbo"](index / (count - 1))


def class_legend(axes: Axes, classes: int) -> None:
    """Add a legend of classes, next to ``axes`` or below a narrow figure, unless there are too many of them."""
    if classes > MOST_CLASSES_NAMED:
        return
    figure = axes.get_figure()
    if figure.get_figwidth() < NARROW:
        figure.legend(*axes.get_legend_handles_labels(), title="class", fontsize=6, title_fontsize=7, frameon=False,
                      loc="outside lower center", ncols=4)  # fmt: skip
    else:
        axes.legend(title="class", fontsize=7, title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1),
                    ncols=1 + classes // CLASSES_OF_COLUMN)  # fmt: skip
