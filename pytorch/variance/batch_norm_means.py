"""The mean of a batch norm's output, from the mean of its input: one feature map in three need not be read.

In evaluation mode a batch norm is y = s·x + b for each channel, so that mean(y) = s·mean(x) + b over the positions of
a sample. A convolution comes before, whose mean is known when the batch norm ends.
"""

import weakref

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all

KINDS = (nn.BatchNorm2d, nn.BatchNorm3d)
"""Subclasses, which may compute anything, are read as other modules are; so are tokens, whose positions come first."""

BatchNorm = nn.BatchNorm2d | nn.BatchNorm3d


class BatchNormMeans:
    """Remembers the means of the activation before, and derives those of a batch norm that takes it as it is.

    Of models whose weights stay as they are.
    """

    def __init__(self) -> None:
        self._affine: dict[tuple[nn.Module, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._before: tuple[weakref.ref[Tensor], int, Tensor] | None = None

    def remember(self, activation: Tensor, means: Tensor | None) -> None:
        """Remember an activation, and its means, (B, C), if they are known."""
        known = means is not None and not activation.is_inference()
        self._before = (weakref.ref(activation), activation._version, means) if known else None

    def derive(self, module: nn.Module, inputs: tuple, output: Tensor, means: Tensor) -> bool:
        """Write the means of a batch norm's output into given memory, if they follow from what came before.

        Args:
            module: Whose output it is.
            inputs: That it was called with, by position.
            output: (B, C, ...).
            means: (B, C), float32 or float64.

        Returns:
            Whether they do. They do not if the input is not the activation before, or has been changed by an operation
            in place; one that goes round PyTorch's count of these (``.data``) is not noticed. Nor do they on CUDA,
            where reading a map takes less time than launching what derives its mean.
        """
        if type(module) not in KINDS or self._before is None or not inputs or not output.is_cpu:
            return False
        if not _is_affine(module):
            return False
        activation, version, before = self._before
        if inputs[0] is not activation() or inputs[0]._version != version or before.dtype != output.dtype:
            return False
        if (module, means.dtype) not in self._affine:
            scale, shift = (values.detach().to(means.dtype) for values in _affine(module))
            self._affine[module, means.dtype] = scale, shift
        scale, shift = self._affine[module, means.dtype]
        torch.addcmul(shift, before, scale, out=means)
        return True


def _is_affine(module: BatchNorm) -> bool:
    """Whether a batch norm has fixed statistics, and neither hooks nor another function change what it computes."""
    hooked = module._forward_pre_hooks or len(module._forward_hooks) > 1  # one is the recorder's
    hooked = hooked or hooks_of_all._global_forward_pre_hooks or hooks_of_all._global_forward_hooks
    return not (module.training or module.running_mean is None or hooked or "forward" in vars(module))


def _affine(module: BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel, float64."""
    scale = (module.running_var.double() + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.double()
    shift = -module.running_mean.double() * scale
    return scale, shift if module.bias is None else shift + module.bias.double()
