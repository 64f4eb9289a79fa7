"""Aggregation: how the positions of an activation become units, before any dispersion is taken."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pytorch.errors import InputError

AGGREGATIONS: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "mean": lambda values, positions: values.mean(dim=positions),
    "max": lambda values, positions: values.amax(dim=positions),
    "sum": lambda values, positions: values.sum(dim=positions),
    "none": lambda values, positions: values,
}
"""What is done along the positions of an activation; with ``"none"`` every position is a unit."""

EXACT_ENOUGH = (torch.float32, torch.float64)
"""Types that are aggregated as they are; the sum of a feature map in a shorter one would lose digits."""


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


def aggregated(activation: Tensor, names: Sequence[str]) -> dict[str | None, Tensor]:
    """Aggregate an activation in each of the ways, into new memory.

    Args:
        activation: (B, ...), of any numeric type.
        names: Keys of ``AGGREGATIONS``.

    Returns:
        For each name (B, units ...), float32 or float64; where there are no positions one entry, None, stands for
        all of them.
    """
    values = activation if activation.dtype in EXACT_ENOUGH else activation.to(torch.float32)
    positions = position_axes(activation)
    if not positions:
        return {None: values.clone() if values is activation else values}
    parts = {name: AGGREGATIONS[name](values, positions) for name in names}
    return {name: part.clone() if part is activation else part for name, part in parts.items()}
