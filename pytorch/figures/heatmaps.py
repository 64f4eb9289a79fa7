"""Heatmaps of the normalized variance: a column for each layer, a cell for each unit."""

from collections.abc import Iterator

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pytorch.experiment import VariancePair
from pytorch.figures.style import group_title, name_layers, set_title
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, STRATIFIED

TOP_QUANTILE = 0.99
"""Of the values of a pair; the colour scale ends there, and a few extreme units cannot flatten the rest."""

MARKS = {"above the scale": "#E31A1C", "x/0 (infinite)": "#000000", "0/0 (constant)": "#BDBDBD", "undefined": "#FFFFFF"}
"""Colours of cells that the scale does not hold."""


def heatmap_figure(pair: VariancePair, group: str, top: float | None = None) -> Figure:
    """Draw the normalized variance of every unit of both models, on one colour scale, layer under layer.

    Columns are layers in order of execution; all are equally high, so that a cell is the smaller the more units a
    layer has. The scale is the same in every heatmap of the pair; see ``scale_top``. Without aggregation a cell is a
    channel, the mean of its finite positions (a summary). Where a layer has more cells than the picture has rows,
    colours are averaged.

    Args:
        pair: What was measured.
        group: ``"all"``, ``"stratified"`` or the name of a class.
        top: ``scale_top(pair)``, where it is known already.
    """
    columns = len(next(iter(pair.results.values())).layer_names)
    figure = Figure(figsize=(max(6.5, 1.8 + 0.24 * columns), 7), layout="constrained")
    panels = figure.subplots(len(pair.results), 1, sharex=True, squeeze=False)[:, 0]
    norm, colours = Normalize(0, scale_top(pair) if top is None else top), colormaps["viridis"]
    for axes, (trained_on, result) in zip(panels, pair.results.items(), strict=True):
        counts = _draw_columns(axes, result, group, norm, colours)
        mean = result.global_mean(group)
        axes.set_title(f"{trained_on} model: global mean {mean:.3f}", fontsize=10, loc="left")
        axes.set_ylabel("channels of the layer" if pair.aggregation == "none" else "units of the layer")
        axes.set_yticks([])
        axes.set_ylim(1, 0)
        shown = [Patch(facecolor=MARKS[m], edgecolor="#666666", label=f"{m}: {n}") for m, n in counts.items() if n]
        if shown:
            axes.legend(handles=shown, loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=len(shown),
                        fontsize=7, frameon=False, handlelength=1, columnspacing=1)  # fmt: skip
    name_layers(panels[-1], _labels(result))
    bar = figure.colorbar(ScalarMappable(norm, colours.with_extremes(over=MARKS["above the scale"])),
                          ax=list(panels), extend="max", fraction=0.03, pad=0.01, aspect=35)  # fmt: skip
    bar.set_label("normalized variance TV / SV  (0: invariant; the scale ends at the 99 % quantile)", fontsize=8)
    cells = ", means of channels" if pair.aggregation == "none" else ""
    set_title(figure, pair, group_title(group) + cells, result.sample_count(group))
    return figure


def scale_top(pair: VariancePair) -> float:
    """Return the end of the pair's colour scale: a quantile of the cells of both models, plain and stratified.

    Constant units, whose 1 is a convention, and values that are not finite have no say in it.
    """
    values = [
        cells[~is_constant]
        for result in pair.results.values()
        for group in (ALL, STRATIFIED)[: len(result.groups)]
        for cells, is_constant in _columns(result, group)
    ]
    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite)]
    return float(np.quantile(finite, TOP_QUANTILE)) or 1.0 if finite.size else 1.0


def _draw_columns(axes: Axes, result: VarianceResult, group: str, norm: Normalize, colours: Colormap) -> dict[str, int]:
    """Draw the layers and return how many cells bear each mark."""
    counts = dict.fromkeys(MARKS, 0)
    for index, (cells, is_constant) in enumerate(_columns(result, group)):
        marked = {
            "above the scale": np.isfinite(cells) & (cells > norm.vmax) & ~is_constant,
            "x/0 (infinite)": np.isinf(cells),
            "0/0 (constant)": is_constant,
            "undefined": np.isnan(cells),
        }
        picture = colours(norm(np.where(np.isfinite(cells), cells, 0)))
        for mark, where in marked.items():
            picture[where] = to_rgba(MARKS[mark])
            counts[mark] += int(where.sum())
        axes.imshow(
            picture[:, None], extent=(index - 0.45, index + 0.45, 1, 0), aspect="auto",
            interpolation="auto", interpolation_stage="rgba",
        )  # fmt: skip
    return counts


def _columns(result: VarianceResult, group: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each layer its cells, and which of them stand for constant units alone."""
    constant = result.constant_units(group)
    for name, values in result.normalized_variance(group).items():
        yield _cells(values), _per_channel(constant[name]).all(axis=1)


def _cells(values: np.ndarray) -> np.ndarray:
    """One value for each channel: (C,) as it is, of (C, H, W) the mean of the finite positions, inf if none is."""
    positions = _per_channel(values)
    finite = np.isfinite(positions)
    total = np.where(finite, positions, 0).sum(axis=1)
    means = total / np.maximum(finite.sum(axis=1), 1)
    return np.where(finite.any(axis=1), means, positions[:, 0])


def _per_channel(values: np.ndarray) -> np.ndarray:
    """(C, positions) of (C,), (C, H, W) or ()."""
    return values.reshape(values.shape[0] if values.ndim else 1, -1)


def _labels(result: VarianceResult) -> list[str]:
    """Layers with the shape of their units."""
    return [
        f"{name}  {'×'.join(map(str, shape))}"
        for name, shape in zip(result.layer_names, result.layer_shapes, strict=True)
    ]
