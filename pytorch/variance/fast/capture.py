"""Capturing what a CUDA device does when a recorder is called, to launch it all at once."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from pytorch.variance.recording.recorder import ActivationRecorder


class Graph:
    """What the device does when a recorder is called, with memory of its own for the batch.

    Attributes:
        shape: Of the batches.
        dtype: Of their numbers.

    Args:
        recorder: It has been called with such a batch before.
        inputs: A batch.

    Raises:
        RuntimeError: The call cannot be captured. What the network itself raises is raised too.
    """

    def __init__(self, recorder: ActivationRecorder, inputs: Tensor) -> None:
        self.shape, self.dtype = inputs.shape, inputs.dtype
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

    PyTorch leaves a pool of memory and the random numbers in the middle of a capture that failed.
    """
    pool = torch.cuda.graph_pool_handle()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    numbers = generator.clone_state()
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        try:
            # Of other threads, such as those that load data, nothing is asked.
            graph.capture_begin(pool, capture_error_mode="thread_local")
            try:
                yield
            except BaseException:
                with suppress(RuntimeError):  # that the capture failed: the reason is under way
                    graph.capture_end()
                raise
            graph.capture_end()
        except BaseException:
            with suppress(Exception):
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            with suppress(RuntimeError):
                torch.cuda.synchronize()  # the error of the capture is told once more, and no more after that
            generator.graphsafe_set_state(numbers)
            raise
