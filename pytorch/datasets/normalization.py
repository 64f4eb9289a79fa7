"""Normalising images, always with the constants of the training split, for every split and class."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pytorch.transformations.warping import as_floating


@dataclass(frozen=True)
class Normalization:
    """(image / 255 - mean) / std, channel by channel.

    Attributes:
        mean: Mean of the training pixels / 255, one per channel.
        std: Standard deviation of the same, one per channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> "Normalization":
        """Compute the exact constants of training images, by counting pixel values.

        Args:
            images: (N, C, H, W) uint8. A constant channel gets the deviation 1.

        >>> Normalization.of(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        Normalization(mean=(0.5,), std=(0.5,))
        """
        values = torch.arange(256, dtype=torch.float64) / 255
        means, stds = [], []
        for channel in images.unbind(dim=1):
            counts = sum(torch.bincount(part.flatten(), minlength=256) for part in channel.split(1024))
            frequencies = counts.double() / counts.sum()
            mean = (frequencies * values).sum()
            std = (frequencies * (values - mean).square()).sum().sqrt()
            means.append(mean.item())
            stds.append(std.item() or 1.0)
        return cls(tuple(means), tuple(stds))

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise images on the scale 0 to 255, (B, C, H, W) of any dtype; returns floating point."""
        images = as_floating(images)
        mean, std = _constants(self.mean, self.std, images.dtype, images.device)
        return (images - mean).div_(std)


@lru_cache(maxsize=64)
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and deviation on the scale 0 to 255, (C, 1, 1) each; cached for the next batches."""
    with torch.inference_mode(False):  # cached tensors must work in any mode
        constants = 255 * torch.tensor([mean, std], dtype=dtype)
        return constants.to(device).reshape(2, -1, 1, 1).unbind()
