"""Does invariance depend on the class, and where? Maps with one row per class."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.arguments import check_pair
from pytorch.figures.cells import ABOVE, CONSTANT, MARKS, UNDEFINED, colour_cells, layer_cells, robust_top
from pytorch.figures.layer_axis import name_blocks, name_layers
from pytorch.figures.style import (
    DIFFERENCE_COLOURS,
    SCALE_COLOURS,
    TITLE_ROOM,
    class_label,
    difference_title,
    finish_scale,
    model_title,
    of_units,
    plain,
    set_title,
    wrap,
)

MOST_ROWS_NAMED = 60

TITLE_SIZE = 9
"""Font size of the title of a panel, in points."""

MARGINS = 1.8
"""Width outside the columns, in inches."""

LETTER, OF_COLOUR_BAR = 0.06, 1.8
"""Size of a letter under a column, and the least height of a map with a labelled colour bar, in inches."""


def class_layers_figure(pair: VariancePair, width: float | None = None, *, varying: bool = False) -> Figure:
    """Draw the layer means of NV for each class, for both models, and their difference.

    Args:
        pair: Measurement on labelled samples.
        width: Width of the figure in inches; None: as its layers need.
        varying: Whether means leave out units that are constant or vary only by rounding.

    Raises:
        InputError: ``pair`` is no ``VariancePair``, or the width is not within ``WIDTHS``.
    """
    check_pair(pair, width)
    result = pair.any_result
    tables = {
        name: np.array([list(found.layer_means(group, varying=varying).values()) for group in found.classes])
        for name, found in pair.results.items()
    }
    layers, panels = len(result.layer_names), len(tables) + pair.has_both
    width = width or max(7, MARGINS + min(0.2, 13 / layers) * layers)
    figure = Figure(figsize=(width, 1.4 + panels * _height(len(result.classes))), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    norm = scale_of(*tables.values())
    for panel, (name, table) in zip(axes, tables.items(), strict=False):
        draw_table(panel, table, norm)
        panel.set_title(
            wrap(model_title(pair, name, TITLE_ROOM), TITLE_SIZE, width - 1), fontsize=TITLE_SIZE, loc="left"
        )
    add_scale(figure, axes[: len(tables)], norm, means_label(*tables.values()))
    if pair.has_both:
        first, second = tables.values()
        difference = second - first
        top = robust_top(np.abs(difference))
        colours = colormaps[DIFFERENCE_COLOURS].with_extremes(bad=MARKS[CONSTANT])
        image = axes[-1].imshow(np.ma.masked_invalid(difference), cmap=colours, vmin=-top, vmax=top, aspect="auto")
        title = wrap(" ".join(difference_title(pair)), TITLE_SIZE, width - 1)
        axes[-1].set_title(title, fontsize=TITLE_SIZE, loc="left")
        bar = figure.colorbar(image, ax=axes[-1], extend="both", pad=0.02, fraction=0.03, aspect=12)
        finish_scale(bar, "difference")
    pitch = (width - MARGINS) / (layers + 1)
    if name_blocks(axes[0], result.layer_names, pitch):
        axes[0].set_title(axes[0].get_title("left"), fontsize=TITLE_SIZE, loc="left", pad=15)
    name_layers(axes[-1], result.layer_names, pitch)
    for panel in axes[:-1]:
        panel.set_xticks([])
    for panel in axes:
        _name_classes(panel, result.classes)
    set_title(figure, pair, of_units("layer means of each class", varying), result.samples)
    return figure


def class_units_figure(pair: VariancePair, width: float | None = None) -> Figure:
    """Draw NV of each unit of the last layer, class by class; the units of a classifier are its outputs.

    Args:
        pair: Measurement on labelled samples.
        width: Width of the figure in inches.

    Raises:
        InputError: ``pair`` is no ``VariancePair``, or the width is not within ``WIDTHS``.
    """
    check_pair(pair, width)
    result = pair.any_result
    layer = result.layer_names[-1]
    tables = {name: [layer_cells(found, group)[-1] for group in found.classes] for name, found in pair.results.items()}
    usual = [values[marks == ""] for rows in tables.values() for values, marks in rows]
    norm = Normalize(0, robust_top(np.concatenate(usual)))
    units = len(next(iter(tables.values()))[0][0])
    outputs = [*map(class_label, result.classes)] if units == len(result.classes) <= MOST_ROWS_NAMED else []
    names = LETTER * max(map(len, outputs), default=0)
    height = max(1.6, 1.1 + names) + max(OF_COLOUR_BAR, _height(len(result.classes), 0.26))
    width = width or 3.8 * len(tables) + 1.2
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for panel, (name, rows) in zip(axes, tables.items(), strict=True):
        picture = [colour_cells(*row, norm, colormaps[SCALE_COLOURS])[0] for row in rows]
        panel.imshow(np.stack(picture), aspect="auto", interpolation="nearest")
        title = wrap(model_title(pair, name, TITLE_ROOM), TITLE_SIZE, width / len(tables) - 0.4)
        panel.set_title(title, fontsize=TITLE_SIZE, loc="left")
        if outputs:
            panel.set_xticks(range(units), outputs, rotation=90, fontsize=7)
        panel.set_xlabel(f"{'output' if outputs else 'unit'} of {plain(layer)}", fontsize=8)
    _name_classes(axes[0], result.classes)
    axes[0].set_ylabel("samples of class", fontsize=8)
    add_scale(figure, axes, norm, "NV (ends at the 99 % quantile)", extend="max")
    set_title(figure, pair, f"units of the last layer, {layer}, class by class", result.samples)
    return figure


def _height(classes: int, row: float = 0.16) -> float:
    """Height of a map, in inches."""
    return min(8.0, max(1.2, row * classes))


def scale_of(*tables: np.ndarray) -> Normalize:
    """Return the colour scale of tables of layer means, from 0 to the greatest."""
    known = [table[np.isfinite(table)] for table in tables]
    return Normalize(0, max((float(values.max()) for values in known if values.size), default=0) or 1)


def means_label(*tables: np.ndarray) -> str:
    """Label the scale of tables of layer means, and explain undefined ones if there are any."""
    undefined = any(np.isnan(table).any() for table in tables)
    return f"NV, layer mean{' (white: no finite unit)' if undefined else ''}"


def draw_table(axes: Axes, table: np.ndarray, norm: Normalize) -> None:
    """Draw a table of layer means as an image; white where they are undefined."""
    colours = colormaps[SCALE_COLOURS].with_extremes(over=MARKS[ABOVE], bad=MARKS[UNDEFINED])
    axes.imshow(np.ma.masked_invalid(table), cmap=colours, norm=norm, aspect="auto", interpolation="nearest")


def _name_classes(axes: Axes, classes: list[str]) -> None:
    if len(classes) <= MOST_ROWS_NAMED:
        axes.set_yticks(range(len(classes)), map(class_label, classes), fontsize=7)
        axes.set_ylabel("class", fontsize=8)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(classes)} classes", fontsize=8)


def add_scale(figure: Figure, axes: Sequence[Axes], norm: Normalize, label: str, extend: str = "neither") -> None:
    """Add the colour bar of a scale of NV next to some axes."""
    colours = colormaps[SCALE_COLOURS].with_extremes(over=MARKS[ABOVE])
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=list(axes), extend=extend, pad=0.02, fraction=0.03, aspect=25
    )
    finish_scale(bar, label)
