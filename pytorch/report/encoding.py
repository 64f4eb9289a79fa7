"""Measurements as compact text, which the page embeds and its script reads."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.cells import pair_scales
from pytorch.figures.layer_axis import split_name
from pytorch.figures.style import MODEL_COLOURS
from pytorch.report.rows import global_row, layer_rows
from pytorch.variance.result import STRATIFIED

OCTAVES = 32
SMALLEST, ZERO, INFINITE, CONSTANT, ROUNDING, UNDEFINED = range(65530, 65536)
"""Last code of a value, and codes of values without a logarithm."""

MOST_UNITS, MOST_NUMBERS = 40_000, 1_000_000
"""Limits up to which the page draws single units: units of a result, and units times groups."""


def encode(layers: Sequence[np.ndarray], marked: dict[int, np.ndarray] | None = None) -> dict[str, Any]:
    """Write non-negative values as 16-bit codes of their logarithms, little-endian, in base64.

        value = top · 2^(-code · 32 / 65530)      top: the largest finite value of the layer

    The relative error of a decoded value is at most 0.017 %. A value below top · 2^-32 becomes top · 2^-32, never 0.
    0, infinity and NaN have codes of their own; negative values count as NaN.

    Args:
        layers: Values of the units of each layer.
        marked: For ``CONSTANT`` or ``ROUNDING``, a mask (U,) of units that get this code instead of their value.

    Returns:
        ``tops``, one per layer, and the ``codes`` of all units as text.
    """
    values = _flat(layers)
    usable = np.isfinite(values) & (values > 0)
    tops = [float(layer[np.isfinite(layer) & (layer > 0)].max(initial=0)) or 1.0 for layer in layers]
    top = np.repeat(tops, [layer.size for layer in layers])
    codes = np.full(values.shape, UNDEFINED, dtype="<u2")
    octaves = np.log2(top[usable]) - np.log2(values[usable])
    codes[usable] = np.minimum(np.rint(octaves * (SMALLEST / OCTAVES)), SMALLEST)
    codes[values == 0] = ZERO
    codes[np.isposinf(values)] = INFINITE
    for code, where in (marked or {}).items():
        codes[where] = code
    return {"tops": tops, "codes": base64.b64encode(codes.tobytes()).decode("ascii")}


def embedded(pair: VariancePair, *, varying: bool = False) -> dict[str, Any]:
    """Return what the page needs to draw a measurement, in JSON types.

    A control has only the groups all and stratified, as in the figures.

    Args:
        pair: Measurement or control.
        varying: Whether means leave out units that are constant or vary only by rounding.

    Returns:
        ``control``; ``layers`` and ``blocks``, the names of layers and of their blocks; ``sizes``, the numbers of
        units; ``groups`` and their ``samples``; ``top`` and ``differenceTop``, the ends of the colour scales;
        ``models``, each with its ``name``, ``title``, ``colour`` and, in ``groups``, the means, intervals and units of
        each group. If the page cannot draw single units, ``models`` is empty and ``omitted`` gives the reason.
    """
    result = pair.any_result
    by_class = pair.control is None and STRATIFIED in result.summary_groups
    groups = [*result.summary_groups, *(result.classes if by_class else [])]
    omitted, scales = omission(pair), pair_scales(pair)
    return {
        "control": pair.control,
        "omitted": omitted,
        "layers": result.layer_names,
        "blocks": [split_name(layer)[0] or layer for layer in result.layer_names],
        "sizes": [int(np.prod(shape)) for shape in result.layer_shapes],
        "groups": groups,
        "samples": [result.sample_count(group) for group in groups],
        "top": scales.top,
        "differenceTop": scales.difference,
        "models": [] if omitted else [
            {"name": pair.name(name), "title": pair.title(name), "colour": MODEL_COLOURS[name],
             "groups": [_group(pair, name, group, varying) for group in groups]} for name in pair.results
        ],
    }  # fmt: skip


def omission(pair: VariancePair) -> str | None:
    """Return the reason why the units of a measurement are not embedded; None if they are."""
    units = max(result.tv_all.size for result in pair.results.values())
    if pair.aggregation == "none":
        return "Without aggregation every position of a feature map is a unit: too many to draw here."
    if units > MOST_UNITS:
        return f"The {units:,} units of this network are too many to draw here."
    if units * len(pair.any_result.groups) > MOST_NUMBERS:
        return f"The {units:,} units of this network, in {len(pair.any_result.classes)} classes, are too many to draw."
    return None if units else "This network has no units."


def _group(pair: VariancePair, name: str, group: str, varying: bool) -> dict[str, Any]:
    """Return the means, intervals and units of one group: NV if stratified, otherwise TV and SV, which give NV.

    Units that vary by rounding alone get a code instead of a meaningless value.
    """
    result = pair.results[name]
    layers, mean = (row(pair, name, group, varying=varying) for row in (layer_rows, global_row))
    found = {
        "mean": _number(mean.value),
        "error": _number(mean.standard_error),
        "means": [_number(row.value) for row in layers],
        "low": [_number(row.low95) for row in layers],
        "high": [_number(row.high95) for row in layers],
    }
    marked = {ROUNDING: _flat(result.rounding_units(group).values()).astype(bool)}
    if group == STRATIFIED:
        marked[CONSTANT] = _flat(result.constant_units(group).values()).astype(bool)
        return {**found, "nv": encode([*result.normalized_variance(group).values()], marked)}
    tv, sv = result.transformation_variance(group), result.sample_variance(group)
    return {**found, "tv": encode([*tv.values()], marked), "sv": encode([*sv.values()], marked)}


def _flat(layers: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0), *(values.ravel() for values in layers)])


def _number(value: float) -> float | None:
    return float(f"{value:.7g}") if np.isfinite(value) else None
