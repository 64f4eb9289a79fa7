"""Refusing work that the machine has no memory for, before the system kills it without a word."""

import torch

from pytorch.available_memory import GIB, available_memory
from pytorch.errors import InputError
from pytorch.variance.statistics.block import shape_of_blocks

GAPS = 1.3
"""What the gaps between arrays add at most: their addresses are drawn anew in every process, and what it takes differs
by a third from one to the next."""


def memory_needed(
    units: int, transformations: int, classes: int, batch: int, device: str = "cpu"
) -> tuple[float, float]:
    """Bytes that the measurement of a model takes beside the model, its activations and the images.

    Args:
        units: U.
        transformations: T.
        classes: K, as far as they are known.
        batch: B.
        device: Its type.

    Returns:
        The moments of every transformation and class and what is made of them in the end, (2 T + 4)·K·U numbers of 8
        bytes; and what the batch takes, 8·B·U of them, and C·B·U of 4 bytes that wait where C transformations are
        taken at once; both with the gaps between them. On CUDA these are many, and so count what is computed of them:
        2·C·K·U numbers of 8 bytes, and 28 bytes for each of the C·U means of a class of the batch.
    """
    steps = min(shape_of_blocks(units, batch, device, classes)[1], transformations)
    waiting = 4 * steps * batch * units if steps > 1 else 0
    state = units * (2 * transformations + 4) * classes
    if device != "cpu":
        state += 2 * steps * classes * units
        waiting += 28 * steps * min(batch, classes) * units
    return GAPS * 8 * state, GAPS * (8 * 8 * batch * units + waiting)


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
    needed = [memory_needed(number, transformations, classes, batch, device.type) for number in units]
    state, work = max(needed, key=sum)
    if state + work > available:
        raise InputError(
            f"measuring {max(units):,} units in batches of {batch} takes {(state + work) / GIB:.1f} GiB, of which "
            f"{work / GIB:.1f} GiB in proportion to the batch size, and there are {available / GIB:.1f} GiB: "
            "use smaller batches, or aggregate the feature maps"
        )
    return sum(map(sum, needed)) < available / 2
