"""Replaying a network, and the recording of its layers, as a CUDA graph.

A network of small layers takes longer to launch than to run, and to read each of its layers takes as many launches
again.
"""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from pytorch.variance.fast.capture import Graph
from pytorch.variance.recording.recorder import ActivationRecorder

CAPTURES = 2
"""How often a network is captured, at most: a tensor is cut into batches of two sizes."""


class Replay:
    """Calls a recorder; on CUDA, after two calls with batches of a shape, by replaying such a call.

    What a network does on the device is done again, what it does in Python is not. So a network is called every time
    that waits for the device (and may decide by what it reads) or cannot be captured for another reason, or whose
    replay does not give the very activations of the call, of the batch that was captured or of the next one (as random
    numbers, or a state that changes between calls, may have it). A call with a batch of another shape ends a replay:
    what it leaves in the network, such as a mask of that size, the graph knows nothing of.

    Args:
        recorder: Inside its context.
        call: Runs the recorder on a batch that others share.
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
            InputError: As ``call`` does.
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
        """Capture the call that gave these rows, and return them."""
        rows = rows.clone()
        self._left -= 1
        self._is_trusted = False
        with suppress(Exception):  # whatever it is: the recorder itself is there
            self._graph = Graph(self._recorder, inputs)
        if self._graph is None:
            self._left = 0
            return rows
        return self._checked(inputs, rows)

    def _checked(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Give the graph up if its replay does not give these rows; return them."""
        rows = rows.clone()
        if not torch.allclose(self._graph(inputs), rows, rtol=0, atol=0, equal_nan=True):
            self._graph, self._left = None, 0
        return rows
