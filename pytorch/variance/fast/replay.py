"""Replay a network, and the recording of its layers, as a CUDA graph.

A network of small layers takes longer to launch than to run, and reading its layers doubles the number of launches.
"""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from pytorch.variance.fast.capture import Graph
from pytorch.variance.recording.recorder import ActivationRecorder

CAPTURES = 2
"""Maximum number of captures of a network: a tensor is split into batches of at most two sizes."""


class Replay:
    """Calls a recorder; on CUDA, after two calls with batches of the same shape, replays the call.

    A replay repeats what the network does on the device, but not what it does in Python. Two kinds of networks are
    therefore called for every batch. Some cannot be captured, for example because they wait for the device and may
    branch on what they read. Others do not give exactly the same activations when the captured batch or the next one
    is replayed, because of random numbers or changing state. A batch of another shape ends a replay: the graph is
    unaware of what such a call leaves in the network, such as a mask of that size.

    Args:
        recorder: Recorder, inside its context.
        call: Function that runs the recorder on a batch shared with others.
    """

    def __init__(self, recorder: ActivationRecorder, call: Callable[[Tensor], Tensor]) -> None:
        self._recorder = recorder
        self._call = call
        self._left = CAPTURES
        self._graph: Graph | None = None
        self._is_trusted = False

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the activations of a batch, as the recorder does.

        Raises:
            InputError: ``call`` raised it.
        """
        if self._graph is None or (inputs.shape, inputs.dtype) != (self._graph.shape, self._graph.dtype):
            self._graph = None
            rows = self._call(inputs)
            return self._captured(inputs, rows) if inputs.is_cuda and self._left else rows
        if self._is_trusted:
            return self._graph(inputs)
        rows = self._call(inputs)
        self._is_trusted = True
        return self._checked(inputs, rows)

    def _captured(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Capture the call that returned these rows, and return them."""
        rows = rows.clone()
        self._left -= 1
        self._is_trusted = False
        with suppress(Exception):  # whatever the error: the recorder itself still works
            self._graph = Graph(self._recorder, inputs)
        if self._graph is None:
            self._left = 0
            return rows
        return self._checked(inputs, rows)

    def _checked(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Drop the graph if its replay does not reproduce these rows; return the rows."""
        rows = rows.clone()
        if not torch.allclose(self._graph(inputs), rows, rtol=0, atol=0, equal_nan=True):
            self._graph, self._left = None, 0
        return rows
