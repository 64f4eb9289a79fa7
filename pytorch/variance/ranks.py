"""The processes that share a measurement, of a process group of torch.distributed.

Each process (rank) measures one shard. At the end, and at a few points on the way if there is a tolerance, rank 0
receives the float64 sums of the others in the order of their ranks, as CPU tensors through gloo: adding them in this
order gives the same bits every time. A rank that fails closes its connections, which the others notice at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import takewhile
from traceback import clear_frames
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor

from pytorch.errors import InputError, RankError
from pytorch.variance.partial_result import Merging, PartialResult, fewest, filler
from pytorch.variance.result import VarianceResult
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.stopping import Stopping

PATIENCE = timedelta(days=1)
"""How long a rank waits for another that is alive: shards may take long, and lost ranks are noticed without it."""

GROWTH = 1.25
"""Ranks agree whether to stop after a few batches, and again each time their number has grown by a quarter."""


class Ranks:
    """The ranks of a process group; a context, which closes the connections.

    Attributes:
        rank: Number of this process in the group.
        size: Number of processes.

    Args:
        group: Process group of all processes, each of which makes this object.

    Raises:
        InputError: The group lacks processes, which new connections would wait for.
    """

    def __init__(self, group: "dist.ProcessGroup") -> None:
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        if self.size < dist.get_world_size():
            raise InputError(f"process_group has {self.size} of {dist.get_world_size()} processes: use that of all, "
                             "torch.distributed.group.WORLD, or shard= and merge_results")  # fmt: skip

    def __enter__(self) -> Self:
        with self._connected():
            if "cpu:gloo" in dist.get_backend_config():  # its barrier notices lost ranks; a new group waits for them
                dist.barrier()
            self._gloo = dist.new_group(timeout=PATIENCE, backend="gloo")
        return self

    def __exit__(self, *error: object) -> None:
        dist.destroy_process_group(self._gloo)
        self._gloo = None  # the last reference: connections close

    def least(self, value: float) -> float:
        """Return the least of the values of all ranks, to each."""
        values = torch.tensor(value, dtype=torch.float64)
        with self._connected():
            dist.all_reduce(values, dist.ReduceOp.MIN, self._gloo)
        return values.item()

    def merged(self, part: PartialResult) -> VarianceResult | dict[str, Any] | None:
        """Merge the shards of all ranks.

        Returns:
            On rank 0, the result; on others None, once rank 0 has it.

        Raises:
            InputError: The ranks have not measured the same, or there are fewer than two samples.
            RankError: Another rank has stopped.
        """
        if self.rank > 0:
            with self._connected(0):
                dist.send_object_list([part.without_arrays()], 0, self._gloo)
            self._send(map(torch.from_numpy, part.arrays()))
            self._hear()
            return None
        merging = Merging()
        merging.add(part, filler(part.arrays()), "rank 0")
        for rank in range(1, self.size):
            head: list[Any] = [None]
            with self._connected(rank):
                dist.recv_object_list(head, rank, self._gloo)
            merging.add(head[0], self._receiver(rank), f"rank {rank}")
        found = merging.results()
        self._tell(0.0, self.size)
        return found

    def half_width(self, accumulator: VarianceAccumulator, stopping: Stopping, busy: int) -> float:
        """Half-width over the samples of all ranks so far, on every rank.

        Args:
            accumulator: Sums of this rank.
            stopping: What watches the sums of all ranks, on rank 0.
            busy: Number of ranks that have samples.
        """
        if self.rank > 0:
            self._send(tensor.cpu() for tensor in accumulator.tensors())
            return self._hear()
        together = VarianceAccumulator(**accumulator.arguments, labels=accumulator.labels)
        together.merge_shard(filler(tensor.cpu().numpy() for tensor in accumulator.tensors()), fewest(self.size))
        for rank in range(1, busy):
            together.merge_shard(self._receiver(rank), fewest(self.size))
        width = stopping.half_width(together)
        self._tell(width, busy)
        return width

    def _send(self, tensors: Iterator[Tensor]) -> None:
        for tensor in tensors:
            with self._connected(0):
                dist.send(tensor, 0, self._gloo)

    def _receiver(self, rank: int) -> Callable[[Tensor], None]:
        def fill(tensor: Tensor) -> None:
            with self._connected(rank):
                dist.recv(tensor, rank, self._gloo)

        return fill

    def _tell(self, value: float, ranks: int) -> None:
        for rank in range(1, ranks):
            with self._connected(rank):
                dist.send(torch.tensor(value, dtype=torch.float64), rank, self._gloo)

    def _hear(self) -> float:
        value = torch.empty((), dtype=torch.float64)
        self._receiver(0)(value)
        return value.item()

    @contextmanager
    def _connected(self, rank: int | None = None) -> Iterator[None]:
        """Report a lost connection in one line."""
        try:
            yield
        except RuntimeError as error:
            clear_frames(error.__traceback__)  # they refer to the connections, which would stay open
            other = "another rank" if rank is None else f"rank {rank}"
            raise RankError(f"rank {self.rank} stops, because {other} has stopped: see what that one says") from error


class SharedStopping:
    """``Stopping`` for the samples of all ranks, on a schedule that every rank knows; called like it.

    Args:
        ranks: The ranks.
        total: Number of samples of all ranks.
        batches: Number of batches of rank 0; others have as many, or one less.
    """

    def __init__(self, ranks: Ranks, total: int, batches: int) -> None:
        self._ranks, self._busy = ranks, min(ranks.size, total)
        self._stopping = Stopping(total)
        self._due = {*takewhile(lambda count: count < batches, _schedule())}
        self._batches, self._width = 0, float("inf")

    def half_width(self, accumulator: VarianceAccumulator) -> float:
        """Half-width when it was last due, the same on every rank."""
        self._batches += 1
        if self._batches in self._due:
            self._width = self._ranks.half_width(accumulator, self._stopping, self._busy)
        return self._width


def _schedule() -> Iterator[int]:
    """Numbers of batches after which ranks agree whether to stop.

    >>> [*takewhile(lambda count: count < 20, _schedule())]
    [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]
    """
    count = 1
    while True:
        yield count
        count = max(count + 1, int(count * GROWTH + 0.5))
