"""A result as a table of text, for a terminal or a notebook."""

from typing import TYPE_CHECKING

import numpy as np

from pytorch.errors import one_line

if TYPE_CHECKING:
    from pytorch.variance.result import VarianceResult


def text_table(result: "VarianceResult") -> str:
    """Return a line for each layer: number of units, mean NV ± standard error, units whose NV is no ordinary ratio."""
    groups = result.summary_groups
    odd = {"constant": result.constant_units(), "rounding": result.rounding_units()}
    infinite = {name: ~np.isfinite(values) for name, values in result.normalized_variance().items()}
    if any(units.any() for units in infinite.values()):
        odd["not finite"] = infinite
    heads = ["layer", "units", *(f"NV {group}" for group in groups), *odd]
    counts = {
        name: (infinite[name].size, *(units[name].sum() for units in odd.values())) for name in result.layer_names
    }
    means = {group: (result.layer_means(group), result.layer_errors(group)) for group in groups}
    rows = [
        _row(name, counts[name], [(mean[name], error[name]) for mean, error in means.values()])
        for name in result.layer_names
    ]
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    rows.append(_row("all", totals, [(result.global_mean(group), result.global_error(group)) for group in groups]))
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join([summary(result), *(_line(row, widths) for row in (heads, *rows))])


def summary(result: "VarianceResult") -> str:
    """Say in one line how a result was measured."""
    offered = result.samples_offered
    parts = [
        f"{result.samples} samples" if offered in (None, result.samples) else f"{result.samples} of {offered} samples",
        f"{len(result.transformations)} transformations",
        result.units_title,
    ]
    usual = {"dispersion": "std", "precision": "fp32", "tolerance": None}
    if result.left_out:
        parts.append(f"{len(result.left_out)} not measured (see left_out)")
    parts += [f"{name} {getattr(result, name)}" for name, value in usual.items() if getattr(result, name) != value]
    return ", ".join([*parts, *(["SHUFFLED control"] if result.shuffled else [])])


def _row(name: str, counts: list[int], estimates: list[tuple[float, float]]) -> list[str]:
    units, *odd = map(str, counts)
    return [one_line(name), units, *(f"{mean:.3f} ± {error:.3f}" for mean, error in estimates), *odd]


def _line(cells: list[str], widths: list[int]) -> str:
    name, *numbers = cells
    return "  ".join(
        [f"{name:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True))]
    )
