"""Importing the kernels, which are written in Triton, where Triton works."""

import importlib
import warnings
from functools import cache
from types import ModuleType

import torch


def kernels_for(device: torch.device | str) -> ModuleType | None:
    """Return ``pytorch.variance.fast.kernels`` if they run on a device; else operations of PyTorch must do."""
    return import_kernels() if torch.device(device).type == "cuda" else None


@cache
def import_kernels() -> ModuleType | None:
    """Return the kernels, tried once; None, with a warning, where Triton is missing or does not work.

    It is missing on Windows, it needs a C compiler, and a GPU that is not too old.
    """
    try:
        kernels = importlib.import_module("pytorch.variance.fast.kernels")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kernels.reading.try_out()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        warnings.warn(f"Triton does not work ({reason}): measuring takes longer than it need", stacklevel=2)
        return None
    return kernels
