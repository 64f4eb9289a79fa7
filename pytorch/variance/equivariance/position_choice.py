"""Which positions are read, if not all."""

import torch
from torch import Tensor


def spread_out(positions: Tensor, count: int, seed: int) -> Tensor:
    """Draw one position from each of ``count`` compact parts of nearly equal size.

    Neighbours have much the same NV, so the mean of such positions has half the error of as many drawn from anywhere.
    The parts lie one after another on a path that goes back and forth through strips of rows. It begins at a random
    position, so that all positions are equally likely.

    Args:
        positions: Row and column of N positions, (N, 2) int64.
        count: Number of positions to draw, at most N.
        seed: Random seed.

    Returns:
        (count, 2) int64, in the order of the path.
    """
    generator = torch.Generator().manual_seed(seed)
    row, column = positions.unbind(dim=1)
    height, last = max(1, round((len(positions) / count) ** 0.5)), column.max()
    strip, row = row // height, row % height
    column = torch.where(strip % 2 == 0, column, last - column)
    row = torch.where(column % 2 == 0, row, height - 1 - row)
    path = ((strip * (last + 1) + column) * height + row).argsort()
    path = path.roll(torch.randint(len(path), (), generator=generator).item())
    ends = torch.arange(count + 1) * len(path) // count
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * ends.diff()
    return positions[path[ends[:-1] + drawn.long()]]
