"""Capture the device work of a recorder call as a CUDA graph, to launch it all at once."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from pytorch.variance.recording.recorder import ActivationRecorder


class Graph:
    """The device work of a recorder call, with separate memory for the batch.

    Attributes:
        shape: Shape of the batches.
        dtype: Dtype of the batches.

    Args:
        recorder: Recorder that was already called with such a batch.
        inputs: Batch to capture the call with.

    Raises:
        RuntimeError: The call cannot be captured. Errors of the network itself propagate as well.
    """

    def __init__(self, recorder: ActivationRecorder, inputs: Tensor) -> None:
        self.shape, self.dtype = inputs.shape, inputs.dtype
        self._inputs = recorder.own_copy(inputs)
        self._graph = torch.cuda.CUDAGraph()
        with captured(self._graph):
            self._rows = recorder(self._inputs)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the activations of a batch; the next call overwrites them."""
        self._inputs.copy_(inputs)
        self._graph.replay()
        return self._rows


@contextmanager
def captured(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """Capture work on the current CUDA device; on failure, undo all effects of the attempt.

    After a failed capture, PyTorch leaves the memory pool and the random number generator in capture mode.
    """
    pool = torch.cuda.graph_pool_handle()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    numbers = generator.clone_state()
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        try:
            # The capture places no restrictions on other threads, such as data loaders.
            graph.capture_begin(pool, capture_error_mode="thread_local")
            try:
                yield
            except BaseException:
                with suppress(RuntimeError):  # reports the failure again; its cause is being raised
                    graph.capture_end()
                raise
            graph.capture_end()
        except BaseException:
            with suppress(Exception):
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            with suppress(RuntimeError):
                torch.cuda.synchronize()  # reports the error of the capture a last time
            generator.graphsafe_set_state(numbers)
            raise
