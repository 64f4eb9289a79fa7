"""Reading of activations on a CPU, by a function in C."""

import ctypes
from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from pytorch.variance.fast.c_library import REALS, c_library


class Reading(ctypes.Structure):
    """``Reading`` of ``reading.c``."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("values", "totals", "maxima")]
        + [(name, ctypes.c_int64) for name in ("totals_stride", "maxima_stride", "samples", "positions", "channels")]
        + [(name, ctypes.c_int32) for name in ("channels_last", "threads")]
    )


def read_positions(activation: Tensor, axes: tuple[int, ...], outs: Mapping[str, Tensor]) -> bool:
    """Write the sum, as ``"mean"`` or ``"sum"``, and the maximum over the positions, with one reading.

    Args:
        activation: Activation, (B, ...).
        axes: Axes of the positions.
        outs: Memory for the units of ``"mean"`` or ``"sum"`` and of ``"max"``.

    Returns:
        Whether it could. The activation must be float32 or float64, as the memory, and contiguous. In memory, positions
        must be the first or the last axes of a sample.
    """
    fits = (
        activation.is_cpu and activation.dtype in REALS and all(out.dtype == activation.dtype for out in outs.values())
    )
    channels_last = _order(activation, axes) if fits and activation.numel() else None
    if channels_last is None:
        return False
    positions = prod(activation.shape[axis] for axis in axes)
    reading = Reading(
        values=activation.data_ptr(), samples=len(activation), positions=positions,
        channels=activation.numel() // (len(activation) * positions), channels_last=channels_last,
        threads=torch.get_num_threads(),
    )  # fmt: skip
    for how, out in outs.items():
        name = "maxima" if how == "max" else "totals"
        setattr(reading, name, out.data_ptr())
        setattr(reading, f"{name}_stride", out.stride(0))
    c_library(activation.dtype).read_positions(ctypes.byref(reading))
    return True


def _order(activation: Tensor, axes: tuple[int, ...]) -> bool | None:
    """Whether the positions come before the channels in memory; None: neither do they come after them."""
    if axes == (2, 3) and activation.is_contiguous(memory_format=torch.channels_last):
        return True
    if not axes or axes != (*range(axes[0], axes[-1] + 1),) or not activation.is_contiguous():
        return None
    return True if axes[0] == 1 else False if axes[-1] == activation.ndim - 1 else None
