"""Refusing work that the machine has no memory for, before the system kills it without a word."""

import os

import torch

from pytorch.errors import InputError

GIB = 2**30


def memory_needed(units: int, transformations: int, classes: int, batch: int) -> tuple[float, float]:
    """Bytes that the measurement of a model takes beside the model, its activations and the images.

    Args:
        units: U.
        transformations: T.
        classes: K, as far as they are known.
        batch: B.

    Returns:
        The moments of every transformation and class, (2 T + 1)·K·U numbers of 8 bytes; and what the batch takes,
        6·B·U of them.
    """
    return 8.0 * units * (2 * transformations + 1) * classes, 8.0 * 6 * batch * units


def check_memory(units: list[int], transformations: int, classes: int, batch: int, device: torch.device) -> bool:
    """Compare what a measurement will take with what the device has.

    Args:
        units: U of each model.
        transformations: T.
        classes: K, as far as they are known.
        batch: B.
        device: Where the statistics are kept.

    Returns:
        Whether all models together stay below half of the memory.

    Raises:
        InputError: One alone takes more than there is; the message says how much.
    """
    available = available_memory(device)
    needed = [memory_needed(number, transformations, classes, batch) for number in units]
    state, work = max(needed, key=sum)
    if state + work > available:
        raise InputError(
            f"measuring {max(units):,} units in batches of {batch} takes {(state + work) / GIB:.1f} GiB, of which "
            f"{work / GIB:.1f} GiB in proportion to the batch size, and there are {available / GIB:.1f} GiB: "
            "use smaller batches, or aggregate the feature maps"
        )
    return sum(map(sum, needed)) < available / 2


def available_memory(device: torch.device) -> float:
    """Bytes of memory that the device has in all; infinite where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
