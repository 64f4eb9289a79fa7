"""Aggregation: how the positions of an activation become units, before any dispersion is taken."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pytorch.errors import InputError

AGGREGATIONS: dict[str, Callable[[Tensor, tuple[int, ...], Tensor], object]] = {
    "mean": lambda values, positions, out: torch.mean(values, positions, out=out),
    "max": lambda values, positions, out: torch.amax(values, positions, out=out),
    "sum": lambda values, positions, out: torch.sum(values, positions, out=out),
    "none": lambda values, positions, out: out.copy_(values),
}
"""What is done along the positions of an activation, into given memory; with ``"none"`` every position is a unit."""

EXACT_ENOUGH = (torch.float32, torch.float64)
"""Types that are aggregated as they are; the sum of a feature map in a shorter one would lose digits."""

CONVERTED_AT_ONCE = 2**20
"""Values of a shorter type that are converted together on a CPU: their copies then stay in its cache."""


def aggregation_names(aggregation: str | Sequence[str]) -> list[str]:
    """Split and check what a caller asks for: a name, several with commas between them, or a sequence of names.

    >>> aggregation_names("mean,max")
    ['mean', 'max']

    Raises:
        InputError: A name is unknown, occurs twice, or there is none.
    """
    names = [name.strip() for name in aggregation.split(",")] if isinstance(aggregation, str) else list(aggregation)
    for name in names:
        if name not in AGGREGATIONS:
            raise InputError(f"unknown aggregation {name!r}: choose from {', '.join(AGGREGATIONS)}")
    if not names or len(set(names)) < len(names):
        raise InputError("name each aggregation once, and at least one")
    return names


def position_axes(activation: Tensor) -> tuple[int, ...]:
    """Return the axes along which the same unit is found at different places.

    (B, C, H, W) and longer shapes: all after the channels. (B, L, D), tokens: the second. Others have none.

    >>> position_axes(torch.zeros(2, 3, 8, 8)), position_axes(torch.zeros(2, 5, 3)), position_axes(torch.zeros(2, 3))
    ((2, 3), (1,), ())
    """
    if activation.ndim == 3:
        return (1,)
    return tuple(range(2, activation.ndim))


def unit_shapes(activation: Tensor, names: Sequence[str]) -> dict[str | None, tuple[int, ...]]:
    """Shapes of the units of one sample, for each aggregation; one entry, None, where there are no positions.

    >>> unit_shapes(torch.zeros(2, 3, 8, 8), ["max", "none"]), unit_shapes(torch.zeros(2, 3), ["max", "none"])
    ({'max': (3,), 'none': (3, 8, 8)}, {None: (3,)})
    """
    positions = position_axes(activation)
    if not positions:
        return {None: tuple(activation.shape[1:])}
    kept = tuple(size for axis, size in enumerate(activation.shape) if axis not in (0, *positions))
    return {name: tuple(activation.shape[1:]) if name == "none" else kept for name in names}


def unit_type(activation: Tensor) -> torch.dtype:
    """Type of the units of an activation: its own if it is exact enough, else float32."""
    return activation.dtype if activation.dtype in EXACT_ENOUGH else torch.float32


def aggregate(activation: Tensor, units: dict[str | None, Tensor]) -> None:
    """Aggregate an activation in each of the ways, into given memory.

    Args:
        activation: (B, ...), of any numeric type.
        units: For each aggregation (B, ...), of the shapes that ``unit_shapes`` gives; all float32, or all float64.
    """
    positions, values = position_axes(activation), activation.detach()
    if not units:
        return
    (kind,) = {out.dtype for out in units.values()}
    if values.dtype == kind:
        for name, out in units.items():
            AGGREGATIONS[name or "none"](values, positions, out)
        return
    at_once = max(1, CONVERTED_AT_ONCE * len(values) // max(1, values.numel())) if values.is_cpu else len(values)
    for start in range(0, len(values), at_once):
        part = slice(start, start + at_once)
        converted = values[part].to(kind)
        for name, out in units.items():
            AGGREGATIONS[name or "none"](converted, positions, out[part])
