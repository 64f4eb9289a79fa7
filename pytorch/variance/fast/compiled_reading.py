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


class CompiledReading:
    """Reads the activations of a layer, pass after pass, into the same memory.

    Between two layers the caches are full of activations. So everything but the address is prepared once.

    Attributes:
        hows: Aggregations that it writes.
    """

    __slots__ = ("_kind", "_outs", "_pointer", "_read", "_reading", "_strides", "hows")

    def __init__(
        self, activation: Tensor, channels_last: bool, positions: int, outs: Mapping[str | None, Tensor]
    ) -> None:
        self._kind, self._strides = activation.dtype, activation.stride()
        self.hows, self._outs = outs.keys(), outs  # keeps their memory
        self._reading = Reading(
            samples=len(activation), positions=positions, channels_last=channels_last,
            channels=activation.numel() // (len(activation) * positions), threads=torch.get_num_threads(),
        )  # fmt: skip
        for how, out in outs.items():
            name = "maxima" if how == "max" else "totals"
            setattr(self._reading, name, out.data_ptr())
            setattr(self._reading, f"{name}_stride", out.stride(0))
        self._pointer = ctypes.byref(self._reading)
        self._read = c_library(self._kind).read_positions

    @classmethod
    def of(
        cls, activation: Tensor, axes: tuple[int, ...], outs: Mapping[str | None, Tensor]
    ) -> "CompiledReading | None":
        """Prepare to write the sum, the maximum or both over the positions, with one reading.

        Args:
            activation: Activation like those to read, (B, ...).
            axes: Axes of the positions; none: each value is copied, as a sum.
            outs: Memory for the units of ``"mean"``, ``"sum"`` or None, which get the sum, and of ``"max"``.

        Returns:
            None where it cannot. Activations must be float32 or float64, as the memory, and contiguous, without a bit
            that negates them. In memory, positions must be the first or the last axes of a sample.
        """
        if not activation.is_cpu or activation.dtype not in REALS or not activation.numel() or activation.is_neg():
            return None
        channels_last = _order(activation, axes)
        if channels_last is None or any(out.dtype != activation.dtype for out in outs.values()):
            return None
        return cls(activation, channels_last, prod(activation.shape[axis] for axis in axes), outs)

    def fits(self, activation: Tensor) -> bool:
        """Whether an activation of the same shape lies in memory like the first one."""
        return (
            activation.stride() == self._strides
            and activation.dtype is self._kind
            and activation.is_cpu
            and not activation.is_neg()
        )

    def read(self, activation: Tensor) -> None:
        """Write the units of an activation that fits."""
        self._reading.values = activation.data_ptr()
        self._read(self._pointer)


def _order(activation: Tensor, axes: tuple[int, ...]) -> bool | None:
    """Whether the positions come before the channels in memory; None: neither do they come after them."""
    if axes == (2, 3) and activation.is_contiguous(memory_format=torch.channels_last):
        return True
    if not activation.is_contiguous() or (axes and axes != (*range(axes[0], axes[-1] + 1),)):
        return None
    return True if not axes or axes[0] == 1 else False if axes[-1] == activation.ndim - 1 else None
