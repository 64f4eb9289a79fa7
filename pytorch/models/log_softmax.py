"""The last layer of every model here."""

import torch
from torch import Tensor, nn


class LogSoftmax(nn.LogSoftmax):
    """Log-probabilities in at least float32.

    On a CPU autocast computes them in bfloat16, whose steps near log(1/10) = -2.3 are 0.016. An untrained network
    varies no more than that between inputs. On CUDA autocast itself uses float32.

    >>> LogSoftmax(dim=1)(torch.zeros(1, 10, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Return the log-probabilities, with the shape of the logits."""
        return super().forward(logits.float() if logits.element_size() < torch.float32.itemsize else logits)
