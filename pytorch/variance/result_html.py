"""A result as HTML, for a notebook: a small heatmap, and the most and the least invariant layers."""

import html
from typing import TYPE_CHECKING

import numpy as np

from pytorch.errors import one_line
from pytorch.variance.result_table import summary

if TYPE_CHECKING:
    from pytorch.variance.result import VarianceResult

COLOURS = (
    "#440154", "#482173", "#433e85", "#38588c", "#2d708e", "#25858e", "#1e9b8a", "#2ab07f", "#52c569", "#86d549",
    "#c2df23", "#fde725",
)  # fmt: skip
"""Viridis, as in the figures, from NV 0 in equal steps."""

CONSTANT_COLOUR = "#bdbdbd"

TOP_QUANTILE = 0.98
"""Quantile of NV at which the colours end, but never below 1."""

RANKED = 5
"""Number of layers in each table."""

LONGEST_SHOWN = 60
"""Letters of a layer name."""

WIDTH, HEIGHT, WIDEST_COLUMN = 640, 100, 28
"""Pixels."""


def result_html(result: "VarianceResult") -> str:
    """Return a heatmap of NV over all samples, and tables of layers by mean NV ± standard error."""
    means, errors = result.layer_means(), result.layer_errors()
    ranked = sorted((name for name in means if np.isfinite(means[name])), key=means.__getitem__)
    rows = {
        name: (html.escape(one_line(name, LONGEST_SHOWN)), f"{means[name]:.3f} ± {errors[name]:.3f}") for name in ranked
    }
    if len(ranked) <= 2 * RANKED:
        tables = [_table("layers, most invariant first", ranked, rows)]
    else:
        tables = [
            _table("most invariant layers", ranked[:RANKED], rows),
            _table("least invariant layers", ranked[: -RANKED - 1 : -1], rows),
        ]
    about = f"{summary(result)}; mean NV of all units {result.global_mean():.3f} ± {result.global_error():.3f}"
    return (
        f"<div><p>{html.escape(one_line(about))}</p>{_heatmap(result)}"
        f'<div style="display: flex; flex-wrap: wrap; gap: 2em">{"".join(tables)}</div></div>'
    )


def _heatmap(result: "VarianceResult") -> str:
    """Draw a column for each layer, in which each colour takes as much height as its share of the units."""
    means, units = result.layer_means(), result.normalized_variance()
    constant, rounding = result.constant_units(), result.rounding_units()
    marked = {name: constant[name] | rounding[name] for name in units}
    varying = {name: values[~marked[name] & ~np.isnan(values)] for name, values in units.items()}
    finite = np.concatenate([values[np.isfinite(values)] for values in varying.values()])
    top = max(1.0, float(np.quantile(finite, TOP_QUANTILE))) if finite.size else 1.0
    lines: dict[str, list[str]] = {colour: [] for colour in (*COLOURS, CONSTANT_COLOUR)}
    columns = []
    for place, (name, values) in enumerate(varying.items()):
        levels = (np.minimum(values / top, 1 - 1e-9) * len(COLOURS)).astype(int)
        counts = [*np.bincount(levels, minlength=len(COLOURS)), marked[name].sum()]
        ends = 1 - np.cumsum([0, *counts]) / max(units[name].size, 1)
        for colour, low, high in zip(lines, ends, ends[1:], strict=False):
            if high < low:
                lines[colour].append(f"M{place + 0.5:g} {high:.3f}V{low:.3f}")
        label = f"{one_line(name, LONGEST_SHOWN)}: {units[name].size} units, mean NV {means[name]:.3f}"
        columns.append(f'<rect x="{place}" width="1" height="1"><title>{html.escape(label)}</title></rect>')
    paths = (f'<path stroke="{colour}" d="{"".join(parts)}"/>' for colour, parts in lines.items() if parts)
    return (
        f'<svg width="{min(WIDTH, WIDEST_COLUMN * len(columns))}" height="{HEIGHT}" viewBox="0 0 {len(columns)} 1" '
        f'preserveAspectRatio="none" shape-rendering="crispEdges">{"".join(paths)}'
        f'<g fill="transparent">{"".join(columns)}</g></svg>{_legend(top)}'
    )


def _legend(top: float) -> str:
    box = "display: inline-block; height: 0.8em; vertical-align: middle; margin: 0 0.4em"
    return (
        "<p>A column is a layer, in order of execution; its colours show the shares of its units. NV 0"
        f'<span style="{box}; width: 8em; background: linear-gradient(to right, {", ".join(COLOURS)})"></span>'
        f'{top:.2f} or more; <span style="{box}; width: 0.8em; background: {CONSTANT_COLOUR}"></span>constant</p>'
    )


def _table(title: str, names: list[str], rows: dict[str, tuple[str, str]]) -> str:
    cell = '<td style="white-space: nowrap; text-align: left">'
    lines = "".join(f"<tr>{''.join(cell + text + '</td>' for text in rows[name])}</tr>" for name in names)
    return f"<table><thead><tr><th>{title}</th><th>mean NV</th></tr></thead><tbody>{lines}</tbody></table>"
