"""Replaying a network, and the recording of its layers, as a CUDA graph: all that the device does, launched at once.

A network of small layers takes longer to launch than to run, and to read each of its layers takes as many launches
again.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from pytorch.variance.activations import ActivationRecorder
from pytorch.variance.triton_import import kernels_for

SHAPES = 2
"""Of batches that are replayed, at most: a tensor is cut into batches of two sizes. Each takes memory of its own."""


class Replay:
    """Calls a recorder; on CUDA, from the second batch of a shape on, by replaying the first one's call.

    What a network does on the device is done again, what it does in Python is not. So a network is called every time
    that waits for the device (and may decide by what it reads), that cannot be captured, or of which a replay does not
    give the very activations of the call (as random numbers or a count of its calls may have it).

    Args:
        recorder: Inside its context.
        enabled: Whether to replay at all.
    """

    def __init__(self, recorder: ActivationRecorder, *, enabled: bool = True) -> None:
        self._recorder = recorder
        self._enabled = enabled
        self._graphs: dict[tuple[torch.Size, torch.dtype], Graph] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the activations of a batch, as the recorder does."""
        if kernels_for(inputs.device) and not self._recorder.layers:
            self._call(inputs)  # later calls read layers together, and may differ from this one in the last digit
        shape = inputs.shape, inputs.dtype
        if shape in self._graphs:
            return self._graphs[shape](inputs)
        if self._enabled and inputs.is_cuda and len(self._graphs) < SHAPES:
            return self._capture(inputs)
        return self._call(inputs)

    def _call(self, inputs: Tensor) -> Tensor:
        return self._recorder(self._recorder.own_copy(inputs))

    def _capture(self, inputs: Tensor) -> Tensor:
        """Call the recorder, and capture such a call if it does not wait for the device and a replay gives the same."""
        self._enabled = False
        own = self._recorder.own_copy(inputs)
        try:
            with no_waiting():
                rows = self._recorder(own).clone()
        except RuntimeError:
            return self._call(inputs)
        with suppress(Exception):  # whatever it is: the recorder itself is there
            graph = Graph(self._recorder, inputs)
            if torch.allclose(graph(inputs), rows, rtol=0, atol=0, equal_nan=True):
                self._graphs[inputs.shape, inputs.dtype] = graph
                self._enabled = True
        return rows


class Graph:
    """What the device does when a recorder is called, with memory of its own for the batch.

    Args:
        recorder: As for ``Replay``; it has been called with such a batch before.
        inputs: A batch.

    Raises:
        RuntimeError: The call cannot be captured.
    """

    def __init__(self, recorder: ActivationRecorder, inputs: Tensor) -> None:
        self._inputs = recorder.own_copy(inputs)
        self._graph = torch.cuda.CUDAGraph()
        with captured(self._graph):
            self._rows = recorder(self._inputs)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the activations of a batch; the next call writes into the same memory."""
        self._inputs.copy_(inputs)
        self._graph.replay()
        return self._rows


@contextmanager
def captured(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """A context in which work on the present CUDA device is captured; if that fails, it is as if it had not been tried.

    PyTorch leaves a stream, a pool of memory and the random numbers behind in the middle of a capture that failed.
    """
    pool = torch.cuda.graph_pool_handle()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    numbers = generator.clone_state()
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        try:
            # Of other threads, such as those that load data, nothing is asked.
            graph.capture_begin(pool, capture_error_mode="thread_local")
            try:
                yield
            finally:
                graph.capture_end()
        except BaseException:
            with suppress(Exception):
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            with suppress(Exception):
                torch.cuda.synchronize()  # the error of the capture is told once more, and no more after that
            generator.graphsafe_set_state(numbers)
            raise


@contextmanager
def no_waiting() -> Iterator[None]:
    """A context in which what waits for a CUDA device raises RuntimeError, as far as PyTorch knows of it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not know of everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
