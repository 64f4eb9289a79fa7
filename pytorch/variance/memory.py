"""Refusing work that the machine has no memory for, before the system kills it without a word."""

import os

import torch

from pytorch.errors import InputError

GIB = 2**30


def check_memory(units: list[int], transformations: int, classes: int, batch: int, device: torch.device) -> None:
    """Compare what a measurement will take with what the device has.

    For each model, numbers of 8 bytes: the moments of every transformation and class, (2 T + 1)·K·U, and those of
    the batch, 2·B·U, beside its activations; for one model at a time four temporary arrays B·U more.

    Args:
        units: U of each model.
        transformations: T.
        classes: K, as far as they are known.
        batch: B.
        device: Where the statistics are kept.

    Raises:
        InputError: It takes more than there is; the message says how much.
    """
    state = 8 * sum(units) * (2 * transformations + 1) * classes
    work = 8 * batch * (2.5 * sum(units) + 4 * max(units))
    available = available_memory(device)
    if state + work > available:
        raise InputError(
            f"measuring {sum(units):,} units in batches of {batch} takes {(state + work) / GIB:.1f} GiB, of which "
            f"{work / GIB:.1f} GiB in proportion to the batch size, and there are {available / GIB:.1f} GiB: "
            "use smaller batches, or aggregate the feature maps"
        )


def available_memory(device: torch.device) -> float:
    """Bytes of memory that the device has in all; infinite where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
