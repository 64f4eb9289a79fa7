"""Cells of a heatmap: their values, colours and marks, and the picture of a whole network."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Colormap, Normalize, to_rgba

from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.arguments import check_pair
from pytorch.variance import VarianceResult

TOP_QUANTILE = 0.99
"""Quantile at which a colour scale ends, so that a few extreme units cannot flatten the rest."""

ABOVE, INFINITE, UNDEFINED = "above the scale", "x/0 (infinite)", "undefined"
CONSTANT, ROUNDING = "0/0 (constant)", "rounding alone"

MARKS = {ABOVE: "#E31A1C", INFINITE: "#000000", CONSTANT: "#BDBDBD", ROUNDING: "#784858", UNDEFINED: "#FFFFFF"}
"""Colours of cells outside the scale."""

ROWS = 840
"""Height of a picture; a multiple of 2, 3, 5, 7 and 8, so that a few units get equally high cells."""


Cells = Sequence[tuple[np.ndarray, np.ndarray]]
"""For each layer its values and their marks: ``CONSTANT``, ``ROUNDING`` or, for a unit that varies, ``""``."""


def layer_cells(result: VarianceResult, group: str) -> Cells:
    """Return for each layer the normalized variance of its cells, (cells,) float64, and their marks.

    A cell is a unit or, without aggregation, a channel: the mean of its finite positions (a summary). A channel is
    marked if none of its positions varies: ``ROUNDING`` if some vary by rounding, otherwise ``CONSTANT``.
    """
    constant, rounding = result.constant_units(group), result.rounding_units(group)
    found = []
    for name, values in result.normalized_variance(group).items():
        still = _per_channel(constant[name] | rounding[name]).all(axis=1)
        exactly = _per_channel(constant[name]).all(axis=1)
        found.append((_channel_means(values), np.select([exactly, still], [CONSTANT, ROUNDING], "")))
    return found


def sorted_cells(cells: Cells) -> Cells:
    """Sort the cells of each layer: rising values, then infinite, undefined, rounding alone, and constant ones."""
    found = []
    for values, marks in cells:
        order = np.lexsort((values, marks == ROUNDING, marks == CONSTANT))  # NaN sorts last
        found.append((values[order], marks[order]))
    return found


@dataclass(frozen=True)
class Scales:
    """Ends of the colour scales of a pair, the same in all its heatmaps.

    Attributes:
        top: End of the scale of NV, which starts at 0: a quantile over both models, all samples and stratified.
        difference: End of the scale of differences, which is symmetric: the same quantile of absolute differences.
            None if the models cannot be compared.
    """

    top: float
    difference: float | None


def pair_scales(pair: VariancePair) -> Scales:
    """Return the scales of a measurement.

    They ignore constant units, whose 1 is a convention, units that vary by rounding alone, and non-finite values.

    Raises:
        InputError: ``pair`` is no ``VariancePair``.
    """
    check_pair(pair)
    shown = [_usual_cells(result) for result in pair.results.values()]
    if not pair.has_both:
        return Scales(_top(shown), None)
    apart = [np.abs(column) for both in zip(*shown, strict=True) for column in differences(*both)]
    return Scales(_top(shown), robust_top(np.concatenate(apart)))


def common_top(results: Iterable[VarianceResult]) -> float:
    """Return the end of a scale of NV for all the results; see ``Scales``."""
    return _top([_usual_cells(result) for result in results])


def differences(before: Cells, after: Cells) -> list[np.ndarray]:
    """Return for each layer second minus first, cell by cell; NaN where either is marked or not finite."""
    found = []
    for (first, first_marks), (second, second_marks) in zip(before, after, strict=True):
        usable = np.isfinite(first) & np.isfinite(second) & (first_marks == "") & (second_marks == "")
        found.append(np.subtract(second, first, out=np.full_like(second, np.nan), where=usable))
    return found


def robust_top(values: np.ndarray) -> float:
    """Return the quantile of finite values at which a colour scale ends; 1 if it is 0 or nothing is finite."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, TOP_QUANTILE)) or 1.0 if finite.size else 1.0


def colour_cells(
    values: np.ndarray, marks: np.ndarray, norm: Normalize, colours: Colormap
) -> tuple[np.ndarray, dict[str, int]]:
    """Colour cells by value or mark.

    Returns:
        RGBA from 0 to 1, (cells, 4), and the number of cells with each mark.
    """
    finite, varying = np.isfinite(values), marks == ""
    marked = {
        ABOVE: finite & (values > norm.vmax) & varying,
        INFINITE: np.isinf(values) & varying,
        CONSTANT: marks == CONSTANT,
        ROUNDING: marks == ROUNDING,
        UNDEFINED: np.isnan(values),
    }
    picture = colours(norm(np.where(finite, values, 0)))
    for mark, where in marked.items():
        picture[where] = to_rgba(MARKS[mark])
    return picture, {mark: int(where.sum()) for mark, where in marked.items()}


def stack_columns(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Put the layers side by side, as equally high columns.

    Args:
        columns: RGBA of each layer, (cells, 4); more cells than ``ROWS`` are averaged.

    Returns:
        (ROWS, layers, 4) RGBA.
    """
    return np.stack([_column(colours) for colours in columns], axis=1)


def _usual_cells(result: VarianceResult) -> list[Cells]:
    """Cells over all samples and, where that has a value, stratified."""
    return [layer_cells(result, group) for group in result.summary_groups]


def _top(shown: Sequence[list[Cells]]) -> float:
    return robust_top(np.concatenate([
        values[marks == ""] for groups in shown for cells in groups for values, marks in cells
    ]))  # fmt: skip


def _column(colours: np.ndarray) -> np.ndarray:
    cells = len(colours)
    if cells <= ROWS:
        return colours[np.arange(ROWS) * cells // ROWS]
    starts = np.arange(ROWS) * cells // ROWS
    return np.add.reduceat(colours, starts) / np.diff([*starts, cells])[:, None]


def _channel_means(values: np.ndarray) -> np.ndarray:
    """One value for each channel: (C,) unchanged; for (C, H, W) the mean of finite positions, inf if there is none."""
    positions = _per_channel(values)
    finite = np.isfinite(positions)
    total = np.where(finite, positions, 0).sum(axis=1)
    means = total / np.maximum(finite.sum(axis=1), 1)
    return np.where(finite.any(axis=1), means, positions[:, 0])


def _per_channel(values: np.ndarray) -> np.ndarray:
    """Reshape (C,), (C, H, W) or () to (C, positions)."""
    return values.reshape(values.shape[0] if values.ndim else 1, math.prod(values.shape[1:]))
