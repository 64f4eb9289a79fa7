"""The mean of a batch norm's output, from the mean of its input: one feature map in three need not be read.

In evaluation mode a batch norm is y = s·x + b for each channel, so that mean(y) = s·mean(x) + b over the positions of
a sample. A convolution comes before, whose mean is known when the batch norm ends.
"""

import weakref

import torch
from torch import Tensor, nn

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Subclasses, which may compute anything, are read as other modules are."""


class BatchNormMeans:
    """Remembers the means of the activation before, and derives those of a batch norm that takes it as it is."""

    def __init__(self) -> None:
        self._affine: dict[nn.Module, tuple[Tensor, Tensor] | None] = {}
        self._before: tuple[weakref.ref[Tensor], int, Tensor] | None = None

    def remember(self, activation: Tensor, means: Tensor | None) -> None:
        """Remember an activation, and its means, (B, C), if they are known."""
        known = means is not None and not activation.is_inference()
        self._before = (weakref.ref(activation), activation._version, means) if known else None

    def derive(self, module: nn.Module, inputs: tuple, output: Tensor, means: Tensor) -> bool:
        """Write the means of a batch norm's output into given memory, if they follow from what came before.

        Args:
            module: Whose output it is.
            inputs: That it was called with.
            output: (B, C, ...).
            means: (B, C), float32 or float64.

        Returns:
            Whether they do. They do not if the input is not the activation before, or has been changed in place.
        """
        if type(module) not in KINDS or self._before is None or output.ndim < 3:
            return False
        activation, version, before = self._before
        if inputs[0] is not activation() or inputs[0]._version != version or before.dtype != output.dtype:
            return False
        if module not in self._affine:
            self._affine[module] = _affine(module)
        affine = self._affine[module]
        if affine is None:
            return False
        torch.addcmul(affine[1], before, affine[0], out=means)
        return True


def _affine(module: nn.BatchNorm2d) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of each channel; None for a batch norm that takes them from the batch, or that is hooked."""
    hooked = module._forward_pre_hooks or len(module._forward_hooks) > 1  # one is the recorder's
    if module.training or module.running_mean is None or module.running_var is None or hooked:
        return None
    scale = (module.running_var.double() + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.double()
    shift = -module.running_mean.double() * scale
    if module.bias is not None:
        shift = shift + module.bias.double()
    return tuple(values.detach().to(module.running_mean.dtype) for values in (scale, shift))
