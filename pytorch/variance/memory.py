"""Refuse work that does not fit into memory, before the system kills the process without a message."""

import sys
from collections.abc import Sequence

import torch

from pytorch.available_memory import GIB, available_memory
from pytorch.errors import InputError
from pytorch.variance.statistics.block import shape_of_blocks

GAPS = 1.3
"""Upper bound of the factor by which gaps between arrays increase memory use. Addresses are random in every process, so
memory use varies by a third between processes."""

WORTH_A_LINE = GIB
"""Bytes of class statistics from which stderr tells of them."""


def memory_needed(
    units: int, transformations: int, classes: int, batch: int, device: str = "cpu"
) -> tuple[float, float]:
    """Estimate the bytes a measurement needs, besides the model, its activations and the images.

    Args:
        units: Number of units, U.
        transformations: Number of transformations, T.
        classes: Number of classes, K, as far as known.
        batch: Batch size, B.
        device: Device type.

    Returns:
        Bytes of the state and of the batch, both including gaps. The state is the moments of every transformation and
        class and the results computed from them, (2 T + 4)·K·U numbers of 8 bytes. The batch needs 8·B·U such numbers,
        plus C·B·U of 4 bytes that are buffered if C transformations are processed at once. On CUDA, C is large, so
        intermediate results count too: in the state 2·C·K·U numbers of 8 bytes, and in the batch 28 bytes for each of
        the C·U means of every class in it.
    """
    steps = min(shape_of_blocks(units, batch, device, classes)[1], transformations)
    waiting = 4 * steps * batch * units if steps > 1 else 0
    state = units * (2 * transformations + 4) * classes
    if device != "cpu":
        state += 2 * steps * classes * units
        waiting += 28 * steps * min(batch, classes) * units
    return GAPS * 8 * state, GAPS * (8 * 8 * batch * units + waiting)


def check_memory(
    units: list[int],
    transformations: int,
    classes: int,
    batch: int,
    device: torch.device,
    available: float | None = None,
    copies: int = 1,
    beside: Sequence[tuple[int, int]] = (),
    tells: bool = True,
) -> bool:
    """Compare the memory a measurement needs with the memory available on the device; tell if classes take much.

    Args:
        units: Number of units of each model, U.
        transformations: Number of transformations, T.
        classes: Number of classes, K, as far as known.
        batch: Batch size, B.
        device: Device of the statistics.
        available: Bytes available; None: those of the device.
        copies: How many times the state is held.
        beside: Number of positions of turned-back maps, and of classes for them, of each model; empty: none.
        tells: Whether this process writes to stderr.

    Returns:
        Whether all models together need less than half of the available memory.

    Raises:
        InputError: One model alone needs more than is available; the message states the sizes.
    """
    available = available_memory(device) if available is None else available
    estimates = [memory_needed(number, transformations, classes, batch, device.type) for number in units]
    for index, (number, kinds) in enumerate(beside):
        more = memory_needed(number, transformations, kinds, batch, device.type)
        estimates[index] = estimates[index][0] + more[0], estimates[index][1] + more[1]
    needed = [(copies * state, work) for state, work in estimates]
    state, work = max(needed, key=sum)
    if state + work > available:
        what = f"{max(units):,} units"
        if beside:
            what += f" and {max(beside)[0]:,} positions of turned-back maps"
        fewer = "read fewer positions" if beside else "aggregate the feature maps"
        raise InputError(
            f"measuring {what} in batches of {batch} needs {(state + work) / GIB:.1f} GiB "
            f"({work / GIB:.1f} GiB of it proportional to the batch size, {state / GIB:.1f} GiB to the {classes} "
            f"classes), but only {available / GIB:.1f} GiB are available: use smaller batches, {fewer}, "
            "or choose the classes that get statistics (class_statistics=, --classes)"
        )
    together = sum(state for state, _ in needed)
    if tells and classes > 1 and together > WORTH_A_LINE:
        print(f"the statistics of {classes} classes take up to {together / GIB:.1f} GiB: choose classes, or none, with "
              "class_statistics= or --classes", file=sys.stderr)  # fmt: skip
    return sum(map(sum, needed)) < available / 2
