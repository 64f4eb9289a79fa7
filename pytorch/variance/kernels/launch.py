"""Launching a kernel where its arguments are."""

from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **options: Any) -> None:
    """Launch a kernel of Triton, which does so on the present device, on that of the first argument."""
    with torch.cuda.device_of(first):
        kernel[grid](first, *arguments, **options)
