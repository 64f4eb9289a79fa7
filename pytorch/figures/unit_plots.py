"""Single units: the images that activate them most, and their activation under the transformations."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pytorch.experiments.unit_examples import UnitExamples, find_layer
from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.arguments import check_pair
from pytorch.figures.style import MODEL_COLOURS, TITLE_SIZE, class_label, model_title, plain, set_title
from pytorch.variance import VarianceResult

IMAGE_COLOURS = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Colours of the images of a unit: those of Okabe & Ito that no model has."""

HEADINGS = ("most invariant units", "least invariant units")

HALF, GAP, MARGIN = 4.75, 0.25, 0.12
"""Width of the column of a model, gap between columns, and margin, in inches."""

HEADING, ROW, NAME, STRIP = 0.42, 1.32, 0.24, 0.78
"""Heights of a heading, a unit, its name, and its curves, in inches."""

IMAGES, TICKS = 2.1, 0.6
"""Widths of all images of a unit, and of the tick labels of its curves, in inches."""

SMALLEST, LARGEST = 1e-3, 1e6
"""Range of activations that are written without an exponent."""

FEW = 40
"""Number of transformations below which a curve has markers."""

TITLE_LINE, CAPTION_LINE = 0.21, 0.18
"""Heights of a line of the title and of a line of the caption, in inches."""

HEADING_SIZE, TEXT_SIZE, SMALL_SIZE = 12, 10, 9
"""Font sizes in points; a figure printed 7 inches wide shows two thirds of them."""

CHARACTERS_PER_INCH, NAME_CHARACTERS_PER_INCH = 14, 12
"""Characters per inch of the caption, and of the names under images, which must not touch."""


@dataclass(frozen=True)
class _Sheet:
    """A figure that is filled from the top down, in inches, and the data that all its units share."""

    figure: Figure
    images: Tensor
    degrees: Sequence[float] | None
    labels: Tensor | None
    classes: list[str]

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes with their upper left corner at (x, y)."""
        across, down = self.figure.get_size_inches()
        return self.figure.add_axes((x / across, 1 - (y + height) / down, width / across, height / down))

    def text(self, x: float, y: float, text: str, **style: object) -> None:
        """Add a text with its upper left corner at (x, y)."""
        across, down = self.figure.get_size_inches()
        self.figure.text(x / across, 1 - y / down, text, va="top", ha="left", **style)


def units_figure(
    pair: VariancePair,
    layer: str,
    examples: dict[str, UnitExamples],
    chosen: dict[str, tuple[list[int], list[int]]],
    images: Tensor,
    degrees: Sequence[float] | None,
    labels: Tensor | None,
) -> Figure:
    """Draw the most and the least invariant units of a layer, one column per model, one row per unit.

    Args:
        pair: Measurement.
        layer: Name of the layer; see ``pytorch.experiments.unit_examples.find_layer``.
        examples: For each model, the images that activate the chosen units most.
        chosen: For each model, the most and the least invariant units, from ``extreme_units``.
        images: Images that ``examples`` refers to, (N, C, H, W) uint8.
        degrees: Angle of each transformation, in order; None: the transformations are not rotations.
        labels: Indices of classes, (N,), or None.

    Raises:
        InputError: ``pair`` is no ``VariancePair``.
    """
    check_pair(pair)
    layer = find_layer(layer, pair.any_result.layer_names)
    rows = [max(1, *(len(both[group]) for both in chosen.values())) for group in range(len(HEADINGS))]
    figure = Figure(figsize=(2 * MARGIN + len(pair.results) * (HALF + GAP) - GAP, 1))
    set_title(figure, pair, f"the most and the least invariant units of {layer}", pair.any_result.samples)
    caption = _caption(pair, next(iter(examples.values())), degrees)
    caption = plain(textwrap.fill(caption, int(CHARACTERS_PER_INCH * figure.get_figwidth())))
    top = MARGIN + TITLE_LINE * (1 + figure.get_suptitle().count("\n"))
    bottom = top + sum(HEADING + ROW * count for count in rows)
    height = bottom + CAPTION_LINE * (1 + caption.count("\n")) + MARGIN
    figure.set_figheight(height)
    figure.suptitle(figure.get_suptitle(), y=1 - MARGIN / height, va="top", fontsize=TITLE_SIZE)
    sheet = _Sheet(figure, images, degrees, labels, pair.any_result.classes)
    sheet.text(MARGIN, bottom, caption, fontsize=SMALL_SIZE, color="#444444")
    for column, (name, result) in enumerate(pair.results.items()):
        x, y = MARGIN + column * (HALF + GAP), top
        for heading, units, count in zip(HEADINGS, chosen[name], rows, strict=True):
            title = f"{model_title(pair, name)}, {heading}{'' if units else ': none'}"
            sheet.text(x, y + 0.16, title, fontsize=HEADING_SIZE, color=MODEL_COLOURS[name])
            y += HEADING
            for row, unit in enumerate(units):
                sheet.text(x, y + ROW * row, _numbers(result, layer, unit), fontsize=TEXT_SIZE)
                _draw_unit(sheet, x, y + ROW * row + NAME, examples[name], unit)
            y += ROW * count
    return figure


def _caption(pair: VariancePair, examples: UnitExamples, degrees: Sequence[float] | None) -> str:
    """Explain how to read the figure."""
    named = examples.transformations
    along = f"the transformation, from 1 ({named[0]}) to {len(named)} ({named[-1]})"
    if degrees is not None:
        along = "the angle by which the image is turned"
    fewer = any(result.samples != examples.samples for result in pair.results.values())
    part = " NV, TV and SV: over a part of them, as a tolerance ended the measurement." if fewer else ""
    return (
        f"Images: of {examples.samples:,} upright samples, those that activate the unit most, in descending order. "
        f"Curves: activation ({pair.aggregation}) for the image framed in the same colour, against {along}. "
        f"Grey: mean ± sd over all upright samples.{part}"
    )


def _numbers(result: VarianceResult, layer: str, unit: int) -> str:
    """Write the number of a unit and its NV, TV and SV."""
    kinds = result.normalized_variance(), result.transformation_variance(), result.sample_variance()
    nv, tv, sv = (f"{values[layer].ravel()[unit]:#.3g}".rstrip(".") for values in kinds)
    return f"unit {unit}:  NV {nv}  (TV {tv} / SV {sv})"


def _draw_unit(sheet: _Sheet, x: float, y: float, examples: UnitExamples, unit: int) -> None:
    """Draw the images of a unit and, next to them, its curves."""
    index = examples.units.index(unit)
    if examples.sd[index] == 0:  # it reacts only to rotated images, so no upright image activates it most
        sheet.text(x + 0.03, y + 0.1, f"{examples.mean[index]:.3g} on every upright image", fontsize=SMALL_SIZE)
        return
    chosen = examples.images[index].tolist()
    pitch = IMAGES / max(3, len(chosen))
    for place, image in enumerate(chosen):
        axes = sheet.axes(x + 0.03 + place * pitch, y + 0.03, pitch - 0.1, pitch - 0.1)
        _draw_image(sheet, axes, image, IMAGE_COLOURS[place % len(IMAGE_COLOURS)])
    axes = sheet.axes(x + IMAGES + TICKS, y, HALF - IMAGES - TICKS, STRIP)
    mean, sd = examples.mean[index], examples.sd[index]
    if np.isfinite(sd):
        axes.axhspan(mean - sd, mean + sd, color="#E4E4E4", linewidth=0)
        axes.axhline(mean, color="#AAAAAA", linewidth=0.8)
    for place, curve in enumerate(examples.activations[index]):
        places, values = _along(curve, sheet.degrees)
        axes.plot(places, values, color=IMAGE_COLOURS[place % len(IMAGE_COLOURS)], linewidth=1.5,
                  marker="o" if len(values) < FEW else "", markersize=2.5)  # fmt: skip
    _name_transformations(axes, examples.activations.shape[2], sheet.degrees)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    _write_out(axes)
    axes.tick_params(labelsize=SMALL_SIZE, length=2, pad=2)
    axes.spines[["top", "right"]].set_visible(False)


def _write_out(axes: Axes) -> None:
    """Write tick labels in full, because a factor or offset above the axis would overlap the text there."""
    low, high = axes.get_ylim()
    largest = max(abs(low), abs(high))
    if SMALLEST <= largest < LARGEST:
        axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    else:
        digits = 2 + int(np.log10(largest / (high - low)))
        axes.yaxis.set_major_formatter(f"{{x:.{digits}g}}")


def _draw_image(sheet: _Sheet, axes: Axes, index: int, colour: str) -> None:
    """Draw an image in a coloured frame, above the name of its class."""
    pixels = sheet.images[index].cpu().numpy()
    axes.imshow(np.moveaxis(pixels, 0, -1) if len(pixels) == 3 else pixels[0], cmap="gray", vmin=0, vmax=255,
                interpolation="nearest")  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(color=colour, linewidth=2.5)
    if sheet.labels is not None and 0 <= (label := int(sheet.labels[index])) < len(sheet.classes):
        room = int(NAME_CHARACTERS_PER_INCH * axes.get_position().width * sheet.figure.get_figwidth())
        axes.set_xlabel(class_label(sheet.classes[label], room), fontsize=SMALL_SIZE, labelpad=3)


def _along(curve: np.ndarray, degrees: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and values of a curve; over a full turn the curve is closed."""
    places = np.arange(1, len(curve) + 1) if degrees is None else np.asarray(degrees)
    if _whole_turn(degrees):
        return np.append(places, places[0] + 360), np.append(curve, curve[0])
    return places, curve


def _whole_turn(degrees: Sequence[float] | None) -> bool:
    """Whether the angles divide the circle evenly."""
    if degrees is None or len(degrees) < 3:
        return False
    return np.allclose(np.diff([*degrees, degrees[0] + 360]), 360 / len(degrees))


def _name_transformations(axes: Axes, count: int, degrees: Sequence[float] | None) -> None:
    """Label the curves of ``count`` transformations with angles, or with numbers from 1."""
    if degrees is None:
        axes.set_xticks(range(1, count + 1, -(-count // 5)))
    elif _whole_turn(degrees):
        axes.set_xticks([degrees[0] + turn for turn in range(0, 361, 90)])
    if degrees is not None:
        axes.xaxis.set_major_formatter("{x:g}°")
