"""Several processes of one script, started by torchrun: one process group, in which rank 0 alone writes and prints."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from io import StringIO
from types import FrameType
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pytorch.errors import RankError
from pytorch.variance.ranks import PATIENCE

Value = TypeVar("Value")


@contextmanager
def torchrun_group() -> Iterator[None]:
    """A context, or a decorator, in which all processes that torchrun has started form a process group.

    It does nothing if torchrun has not started this process. In it, SIGTERM, by which torchrun stops the others after
    one has failed, raises RankError.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield
        return
    with connected():
        # Collectives on the GPU are NCCL's; those of the CPU notice at once if a process is lost.
        cuda = torch.cuda.is_available() and dist.is_nccl_available()
        store, rank, size = next(dist.rendezvous("env://", timeout=PATIENCE))
        if os.environ["GROUP_WORLD_SIZE"] == "1":
            # Restarted processes would find addresses of the old ones; https://github.com/pytorch/pytorch/issues/135712
            store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    before = signal.signal(signal.SIGTERM, partial(_stop, os.getpid()))
    try:
        yield
    except Exception:
        before = signal.SIG_IGN  # the process ends by itself, and has yet to say why
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


def _stop(process: int, signum: int, frame: FrameType | None) -> NoReturn:
    if os.getpid() != process:  # a worker that decodes images
        os._exit(1)
    raise RankError(f"torchrun has stopped rank {dist.get_rank()}: see what it says about the others")


def group() -> "dist.ProcessGroup | None":
    """The process group; None if this process is alone."""
    return dist.group.WORLD if dist.is_available() and dist.is_initialized() else None


def is_first() -> bool:
    """Whether this process writes and prints."""
    return group() is None or dist.get_rank() == 0


def from_first(make: Callable[[], Value]) -> Value:
    """Call a function on rank 0, and return its value, which must be plain, on every rank.

    Raises:
        RankError: Another process has stopped.
    """
    value = [make() if is_first() else None]
    if group() is not None:
        with connected():
            dist.broadcast_object_list(value, src=0)
    return value[0]


def first_then_others(make: Callable[[], Value]) -> Value:
    """Call a function on rank 0, then on the others, whose notes on stderr would repeat; return its value.

    Raises:
        RankError: Another process has stopped.
    """
    if is_first():
        value = make()
        from_first(lambda: None)
        return value
    from_first(lambda: None)
    with redirect_stderr(StringIO()):
        return make()


def sum_of_ranks(values: Tensor) -> Tensor:
    """Sum a tensor over all ranks, in place, and return it.

    Raises:
        RankError: Another process has stopped.
    """
    if group() is not None:
        with connected():
            dist.all_reduce(values)
    return values


@contextmanager
def connected() -> Iterator[None]:
    """Report a lost connection in one line; other errors pass."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):  # gloo's errors have no type
            raise
        rank = os.environ["RANK"]
        raise RankError(f"rank {rank} stops, because another rank has stopped: see what that one says") from error
