"""Reduce the positions of an activation to units, reading it once for several aggregations or layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

KINDS = {torch.float32: tl.float32, torch.float64: tl.float64}

Units = Mapping[str, Tensor]
"""Memory for the units of each aggregation."""

READABLE = (torch.bfloat16, torch.float16, *KINDS)
"""Dtypes of activations that the kernels read."""


def can_read(activation: Tensor) -> bool:
    """Whether an activation is a plain tensor that the kernels can read."""
    return type(activation) is Tensor and activation.dtype in READABLE and not activation.is_neg()


def reduce_positions(activation: Tensor, axes: tuple[int, ...], kind: torch.dtype, outs: Units) -> None:
    """Reduce the positions of an activation to its units.

    Args:
        activation: (B, ...), accepted by ``can_read``.
        axes: Axes of the positions, adjacent and without the first.
        kind: Dtype to sum in, float32 or float64.
        outs: Memory for the units of ``"mean"`` or ``"sum"``, of ``"max"``, or of both; each (B, C), with the same row
            stride.
    """
    read_chain(activation, axes, kind, None, [outs, None, None])


def read_chain(
    activation: Tensor, axes: tuple[int, ...], kind: torch.dtype, affine: tuple[Tensor, Tensor] | None,
    outs: Sequence[Units | None],
) -> None:  # fmt: skip
    """Reduce the positions of an activation x, of y = scale · x + shift rounded to the dtype of x, and of max(y, 0).

    Args:
        activation: As for ``reduce_positions``.
        axes: As for ``reduce_positions``.
        kind: As for ``reduce_positions``.
        affine: Scale and shift, both (C,) with dtype ``kind``; None: y is x.
        outs: Memory for the units of x, of y and of max(y, 0), as for ``reduce_positions``; None: not wanted.
    """
    positions = activation.shape[axes[0] : axes[-1] + 1].numel()
    (channel_axis,) = {*range(1, activation.ndim)} - {*axes}
    values = activation.movedim(channel_axis, 1)
    channels = values.shape[1]
    try:
        values = values.view(-1, channels, positions)
    except RuntimeError:  # the positions are not evenly spaced in memory
        values = values.reshape(-1, channels, positions)
    has_total, has_largest, has_normed, has_rectified = (
        bool(outs[0].keys() - {"max"}), "max" in outs[0], affine is not None, outs[2] is not None,
    )  # fmt: skip
    sums = has_total * (1 + has_rectified) + has_largest * (1 + has_normed)
    shape = shape_of_programs(channels, positions, sums, channels_last=values.stride(1) == 1)
    parts = triton.cdiv(channels, shape["tile"])
    total, there = ("sum" if "sum" in outs[0] else "mean"), next(iter(outs[0].values()))
    pointers = [(units or {}).get(how, there) for units in outs for how in (total, "max")]
    farthest = positions * values.stride(2) + channels * values.stride(1)
    launch(
        _reduce_positions, (len(values) * parts,), values, *pointers, *(affine or (there, there)), positions, channels,
        parts, *values.stride(), there.stride(0), with_total=has_total, is_mean=total == "mean",
        with_largest=has_largest, with_normed=has_normed, with_rectified=has_rectified,
        whole=positions % shape["at_once"] == 0 and channels % shape["tile"] == 0, is_wide=farthest >= 2**31,
        kind=KINDS[kind], **shape,
    )  # fmt: skip


def try_out() -> None:
    """Run a kernel on the current CUDA device, to reveal any problem with Triton."""
    outs = {how: torch.empty(1, 1, device="cuda") for how in ("mean", "max")}
    reduce_positions(torch.zeros(1, 1, 2, 2, device="cuda"), (2, 3), torch.float32, outs)


def shape_of_programs(channels: int, positions: int, sums: int, *, channels_last: bool) -> dict[str, int]:
    """Choose the share of a sample that a program processes (tuned on an H200).

    Few positions are summed within one thread, many by several threads. The more sums, the fewer registers for each.

    Args:
        channels: Number of channels, C.
        positions: Number of positions per channel.
        sums: Number of sums and maxima per channel.
        channels_last: Whether the channels of a position are adjacent in memory, or the positions of a channel.

    Returns:
        Channels per program, positions per step, steps unrolled together, and warps.

    >>> shape_of_programs(512, 16, 1, channels_last=True)
    {'tile': 256, 'at_once': 4, 'unroll': 4, 'num_warps': 1}
    """
    if not channels_last:
        tile, at_once, unroll, warps = 4, 1024, 1, 4
    elif positions <= 16:
        tile, at_once, unroll, warps = 256, 4, 4, 1
    elif positions <= 64:
        tile, at_once, unroll, warps = 64, 16, 4, 1
    elif positions <= 256:
        tile, at_once, unroll, warps = (64, 64, 1, 4) if sums == 1 else (64, 16, 4, 2)
    elif sums == 1:
        tile, at_once, unroll, warps = 64, 128, 1, 8
    else:
        tile, at_once, unroll, warps = 64, 32, 4, 8 if sums == 2 else 4
    needed = min(tile, triton.next_power_of_2(channels))
    at_once = min(at_once * tile // needed, triton.next_power_of_2(positions))
    return {"tile": needed, "at_once": at_once, "unroll": unroll, "num_warps": warps}


@triton.jit
def _larger(one, other):
    return tl.maximum(one, other, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _reduce_positions(
    values, totals, maxima, normed_totals, normed_maxima, rectified_totals, rectified_maxima, scales, shifts,
    positions, channels, parts, of_sample, of_channel, of_position, of_row,
    with_total: tl.constexpr, is_mean: tl.constexpr, with_largest: tl.constexpr, with_normed: tl.constexpr,
    with_rectified: tl.constexpr, whole: tl.constexpr, kind: tl.constexpr, at_once: tl.constexpr, tile: tl.constexpr,
    unroll: tl.constexpr, is_wide: tl.constexpr,
):  # fmt: skip
    # Start at the end, which was written last and may still be in the cache.
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    sample = (program // parts).to(tl.int64)
    channel = (program % parts) * tile + tl.arange(0, tile)
    inside = channel < channels
    total = tl.zeros((at_once, tile), kind)
    total_rectified = tl.zeros((at_once, tile), kind)
    lowest = tl.full((at_once, tile), -float("inf"), kind)
    largest = lowest
    largest_normed = lowest
    if with_normed:
        scale = tl.load(scales + channel, mask=inside, other=0.0)[None, :]
        shift = tl.load(shifts + channel, mask=inside, other=0.0)[None, :]
    first = values + sample * of_sample
    for start in tl.range(0, positions, at_once, loop_unroll_factor=unroll):
        position = start + tl.arange(0, at_once)
        if is_wide:
            where = first + (position.to(tl.int64)[:, None] * of_position + channel.to(tl.int64)[None, :] * of_channel)
        else:
            where = first + (position[:, None] * of_position + channel[None, :] * of_channel)
        here = (position < positions)[:, None] & inside[None, :]
        read = tl.load(where) if whole else tl.load(where, mask=here, other=0.0)
        value = read.to(kind)
        if with_total:
            total += value
        if with_largest:
            largest = _larger(largest, value if whole else tl.where(here, value, lowest))
        if with_normed:
            value = (value * scale + shift).to(read.dtype).to(kind)
            if with_largest:
                largest_normed = _larger(largest_normed, value if whole else tl.where(here, value, lowest))
        if with_rectified and with_total:
            value = tl.where(value < 0, 0.0, value)
            total_rectified += value if whole else tl.where(here, value, 0.0)
    where = sample * of_row + channel
    if with_total:
        added = tl.sum(total, axis=0)
        if is_mean:
            added /= positions
        tl.store(totals + where, added, mask=inside)
        if with_normed:
            tl.store(normed_totals + where, added * tl.sum(scale, axis=0) + tl.sum(shift, axis=0), mask=inside)
        if with_rectified:
            tl.store(rectified_totals + where, tl.sum(total_rectified, axis=0) / positions, mask=inside)
    if with_largest:
        most = tl.reduce(largest, 0, _larger)
        tl.store(maxima + where, most, mask=inside)
        if with_normed:
            most = tl.reduce(largest_normed, 0, _larger)
            tl.store(normed_maxima + where, most, mask=inside)
        if with_rectified:
            tl.store(rectified_maxima + where, tl.where(most < 0, 0.0, most), mask=inside)


def launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **options: Any) -> None:
    """Launch a Triton kernel on the device of its first argument; by default Triton uses the current device."""
    with torch.cuda.device_of(first):
        kernel[grid](first, *arguments, **options)
