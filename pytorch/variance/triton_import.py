"""Importing the kernels, which are written in Triton, where there is Triton."""

import importlib
from functools import cache
from types import ModuleType

import torch


@cache
def import_kernels() -> ModuleType | None:
    """Return ``pytorch.variance.kernels``; None where Triton is missing (Windows, macOS, PyTorch without CUDA)."""
    try:
        return importlib.import_module("pytorch.variance.kernels")
    except ImportError:
        return None


def kernels_for(device: torch.device | str) -> ModuleType | None:
    """Return the kernels if there are any for a device."""
    return import_kernels() if torch.device(device).type == "cuda" else None
