"""Aggregation: how the positions of an activation become units, before the dispersion."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

EXACT_ENOUGH = (torch.float32, torch.float64)
"""Types that are aggregated without conversion; the sum of a feature map in a shorter type would lose digits."""

CONVERTED_AT_ONCE = 2**20
"""Values of a shorter type to convert at once on a CPU, few enough for its cache."""

STRIPE = 32
"""Channels that ``torch.sum`` and ``torch.amax`` read together. With more adjacent channels they read in stripes, which
takes up to twice as long as pooling all positions, which reads in order (measured)."""

FEW_POSITIONS = 16
"""Fewer positions do not justify two operations."""

IN_SEQUENCE = 128
"""Values to add in sequence: in a longer sum, rounding errors would grow."""


def unit_shapes(
    activation: Tensor, names: Sequence[str], positions: tuple[int, ...]
) -> dict[str | None, tuple[int, ...]]:
    """Shape of the units of one sample for each aggregation; the single key None if there are no positions.

    Args:
        activation: Activation, (B, ...).
        names: Names of the aggregations.
        positions: Axes of the positions.

    >>> both = ["max", "none"]
    >>> unit_shapes(torch.zeros(2, 3, 8, 8), both, (2, 3)), unit_shapes(torch.zeros(2, 3), both, ())
    ({'max': (3,), 'none': (3, 8, 8)}, {None: (3,)})
    """
    if not positions:
        return {None: tuple(activation.shape[1:])}
    kept = tuple(size for axis, size in enumerate(activation.shape) if axis not in (0, *positions))
    return {name: tuple(activation.shape[1:]) if name == "none" else kept for name in names}


def unit_type(activation: Tensor) -> torch.dtype:
    """Type of the units of an activation: that of the activation if exact enough, else float32."""
    return activation.dtype if activation.dtype in EXACT_ENOUGH else torch.float32


def reduce(how: str | None, activation: Tensor, axes: tuple[int, ...], kind: torch.dtype, out: Tensor) -> None:
    """Reduce the positions of an activation to units, into given memory.

    For a mean, a CPU writes the sum: dividing costs less after the last layer than between two layers.

    Args:
        how: One of ``AGGREGATIONS``, or None if there are no positions.
        activation: Activation (B, ...) of any numeric type.
        axes: Axes of the positions.
        kind: Type of the sum, float32 or float64.
        out: Memory for the units, with the shape from ``unit_shapes``.
    """
    if how == "none" or not axes:
        out.copy_(activation)
    elif how == "max" and _is_read_in_stripes(activation, axes):
        out.copy_(F.max_pool2d(activation, activation.shape[2:]).flatten(1))
    elif how == "max":
        _write(partial(torch.amax, activation, axes), activation.dtype, out)
    elif not activation.is_cpu:
        _write(partial(torch.mean if how == "mean" else torch.sum, activation, axes, dtype=kind), kind, out)
    elif activation.dtype == kind:
        _sum(activation, axes, out)
    else:
        at_once = max(1, CONVERTED_AT_ONCE * len(activation) // max(1, activation.numel()))
        for part, units in zip(activation.split(at_once), out.split(at_once), strict=True):
            _sum(part.to(kind), axes, units)


def _is_read_in_stripes(activation: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether an activation is a feature map on a CPU with many channels, which are adjacent in memory."""
    return (
        axes == (2, 3)
        and activation.dtype in (*EXACT_ENOUGH, torch.bfloat16)
        and activation.shape[1] > STRIPE
        and activation.shape[2] * activation.shape[3] >= FEW_POSITIONS
        and activation.is_cpu
        and activation.is_contiguous(memory_format=torch.channels_last)
    )


def _sum(values: Tensor, axes: tuple[int, ...], out: Tensor) -> None:
    """Sum over the positions, on a CPU."""
    if _is_read_in_stripes(values, axes):
        height, width = values.shape[2:]
        rows = min(height, max(1, IN_SEQUENCE // width))
        values = F.avg_pool2d(values, (rows, width), ceil_mode=True, divisor_override=1)
    _write(partial(torch.sum, values, axes), values.dtype, out)


def _write(reduction: Callable[..., Tensor], kind: torch.dtype, out: Tensor) -> None:
    """Write the result of a reduction, of type ``kind``, into memory that may have another type."""
    if out.dtype == kind:
        reduction(out=out)
    else:
        out.copy_(reduction())
