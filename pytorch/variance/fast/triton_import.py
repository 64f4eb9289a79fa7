"""Import the Triton kernels where Triton works."""

import importlib
import warnings
from functools import cache
from types import ModuleType

import torch


def kernels_for(device: torch.device | str) -> ModuleType | None:
    """Return ``pytorch.variance.fast.kernels`` if they run on the device; None: use PyTorch operations."""
    return import_kernels() if torch.device(device).type == "cuda" else None


@cache
def import_kernels() -> ModuleType | None:
    """Return the kernels, tested once; or None, with a warning, if Triton is missing or does not work.

    Triton is missing on Windows, and needs a C compiler and a recent enough GPU.
    """
    try:
        kernels = importlib.import_module("pytorch.variance.fast.kernels")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kernels.reading.try_out()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        warnings.warn(f"Triton does not work ({reason}): measuring will be slower", stacklevel=2)
        return None
    return kernels
