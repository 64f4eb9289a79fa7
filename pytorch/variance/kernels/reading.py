"""From the positions of an activation to its units, in one reading for several aggregations."""

import torch
import triton
import triton.language as tl
from torch import Tensor

KINDS = {torch.float32: tl.float32, torch.float64: tl.float64}

READABLE = (torch.bfloat16, torch.float16, *KINDS)
"""Types of activations that are read."""

AT_ONCE = 8192
"""Activations that a program has in its registers at a time, at most."""


def reduce_positions(activation: Tensor, axes: tuple[int, ...], kind: torch.dtype, outs: dict[str, Tensor]) -> None:
    """Reduce the positions of an activation to its units.

    Args:
        activation: (B, ...), of one of the types of ``READABLE``.
        axes: Of the positions; side by side, not the first.
        kind: In which type to sum, float32 or float64.
        outs: Where to write the units of ``"mean"`` or ``"sum"``, of ``"max"``, or of both, (B, C).
    """
    positions = activation.shape[axes[0] : axes[-1] + 1].numel()
    (kept,) = {*range(1, activation.ndim)} - {*axes}
    values = activation.movedim(kept, 1)
    channels = values.shape[1]
    try:
        values = values.view(-1, channels, positions)
    except RuntimeError:  # the positions do not lie at equal distances
        values = values.reshape(-1, channels, positions)
    total, largest = outs.get("mean", outs.get("sum")), outs.get("max")
    tile, at_once, warps = shape_of_programs(channels, positions, values.stride(1) == 1)
    parts = triton.cdiv(channels, tile)
    there = next(iter(outs.values()))
    _reduce_positions[(len(values) * parts,)](
        values, there if total is None else total, there if largest is None else largest, positions, channels, parts,
        *values.stride(), *(0 if out is None else out.stride(0) for out in (total, largest)),
        with_total=total is not None, is_mean="mean" in outs, with_largest=largest is not None, kind=KINDS[kind],
        at_once=at_once, tile=tile, num_warps=warps,
    )  # fmt: skip


def shape_of_programs(channels: int, positions: int, channels_last: bool) -> tuple[int, int, int]:
    """Choose what a program takes of a sample: so many channels, positions at a time, and warps (tuned on an H200).

    >>> shape_of_programs(64, 1024, channels_last=True), shape_of_programs(512, 16, channels_last=True)
    ((64, 128, 8), (128, 16, 2))
    """
    small = positions <= 64
    tile = min(triton.next_power_of_2(channels), (128 if small else 64) if channels_last else 4)
    all_of_them = triton.next_power_of_2(positions)
    at_once = min(AT_ONCE // tile, all_of_them, max(32, all_of_them // 4))
    return tile, at_once, 2 if small else max(1, min(8, tile * at_once // 1024))


@triton.jit
def _larger(one, other):
    return tl.maximum(one, other, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _reduce_positions(
    values, totals, maxima, positions, channels, parts, of_sample, of_channel, of_position, of_totals, of_maxima,
    with_total: tl.constexpr, is_mean: tl.constexpr, with_largest: tl.constexpr, kind: tl.constexpr,
    at_once: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    # From the end, which has been written last and is still in the cache.
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    sample = (program // parts).to(tl.int64)
    channel = (program % parts) * tile + tl.arange(0, tile)
    inside = channel < channels
    where = values + sample * of_sample + channel.to(tl.int64) * of_channel
    total = tl.zeros((at_once, tile), kind)
    largest = tl.full((at_once, tile), -float("inf"), kind)
    for start in range(0, positions, at_once):
        position = start + tl.arange(0, at_once)
        here = (position < positions)[:, None] & inside[None, :]
        read = tl.load(where[None, :] + (position.to(tl.int64) * of_position)[:, None], mask=here, other=0.0).to(kind)
        if with_total:
            total += read
        if with_largest:
            largest = _larger(largest, tl.where(here, read, -float("inf")))
    if with_total:
        added = tl.sum(total, axis=0)
        if is_mean:
            added /= positions
        tl.store(totals + sample * of_totals + channel, added, mask=inside)
    if with_largest:
        tl.store(maxima + sample * of_maxima + channel, tl.reduce(largest, 0, _larger), mask=inside)
