"""Is the first axis of every layer that of the samples, or is it as long as a batch by chance?"""

import torch
from torch import Tensor

from pytorch.errors import InputError
from pytorch.variance.activations import ActivationRecorder


def check_batch_axis(recorder: ActivationRecorder, inputs: Tensor) -> None:
    """Run a network that has sequences on one sample more, and refuse it if a layer does not grow by one.

    Tokens are put first by many, and there may be as many of them as samples. One forward pass more, at the beginning,
    of networks with activations of three axes; others have no such axis.

    Args:
        recorder: That has recorded ``inputs``.
        inputs: (B, C, H, W).

    Raises:
        InputError: A layer is of the same length; the message names it.
    """
    if not recorder.has_sequences:
        return
    with recorder.anew() as other:
        other.find_layers(other.own_copy(torch.cat([inputs, inputs[:1]])))
    grown = {layer.name for layer in other.layers}
    for layer in recorder.layers:
        if layer.name not in grown:
            raise InputError(
                f"layer {layer.name} is {len(inputs)} long as the batch is, by chance: its first axis is not that of "
                "the samples (layers= records others)"
            )
