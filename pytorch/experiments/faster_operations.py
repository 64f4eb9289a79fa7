"""Operations of training that PyTorch computes slowly on a CPU, computed otherwise.

Outputs follow the same definitions, but rounding and random masks differ. What is replaced depends only on the
processor and on how an operation is called: on one machine, a training stays the same bit for bit.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout
from torch.overrides import TorchFunctionMode

from pytorch.experiments.small_map_convolutions import CONVERTED, convolution, gains, has_tiles


def faster_operations(device: torch.device) -> AbstractContextManager:
    """Return a context for forward passes of training; on others than a CPU, it does nothing.

    A pass that is repeated for its gradient (activation checkpointing) must be repeated in it.
    """
    return FasterOperations() if device.type == "cpu" else nullcontext()


class FasterOperations(TorchFunctionMode):
    """A context that replaces dropout and, where autocast is to bfloat16 and the CPU has tiles, small convolutions."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch, or compute its result faster."""
        if func is dropout:
            return _dropout(*args, **kwargs or {})
        is_module_call = func is torch.conv2d and len(args) == 7
        if is_module_call and has_tiles() and _to_bfloat16() and gains(*args[:2], *args[3:]):
            return convolution(*args[:5])
        return func(*args, **kwargs or {})


def _to_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16


def _dropout(inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero a fraction ``p`` of all values at random, and divide the rest by 1 - p.

    PyTorch uses ``bernoulli_``, which takes up to 10 ns per value on a CPU; comparing uniform numbers takes 3.
    Source: https://github.com/pytorch/pytorch/issues/138199.
    """
    if not training or inplace or not 0 < p < 1 or inputs.dtype not in CONVERTED:
        return dropout(inputs, p, training, inplace)
    kept = torch.rand_like(inputs, dtype=torch.float32).ge_(p).div_(1 - p)
    return inputs * kept.to(inputs.dtype)
