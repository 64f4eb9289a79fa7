"""The last layer of every model here."""

import torch
from torch import Tensor, nn


class LogSoftmax(nn.LogSoftmax):
    """Logarithms of probabilities, in float32 at least.

    On a CPU autocast computes them in bfloat16, in which those of ten classes alike (-2.3) lie 0.016 apart: steps as
    wide as what an untrained network does with different inputs. On CUDA it takes float32 by itself.

    >>> LogSoftmax(dim=1)(torch.zeros(1, 10, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Return the logarithms of the probabilities, of the shape of the logits."""
        return super().forward(logits.float() if logits.element_size() < torch.float32.itemsize else logits)
