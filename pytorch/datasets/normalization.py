"""The constants that normalise images: those of the training split, for every split and every class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pytorch.transformations.warping import as_floating


@dataclass(frozen=True)
class Normalization:
    """(image / 255 - mean) / std, channel by channel.

    Attributes:
        mean: Of the training pixels / 255, one for each channel.
        std: Their standard deviation.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> "Normalization":
        """Compute the constants of training images exactly, from a count of each pixel value.

        Args:
            images: (N, C, H, W) uint8. A channel of one value throughout gets the deviation 1.

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
        """Normalise images on the scale 0 to 255, (B, C, H, W) of any type; the result is floating point."""
        images = as_floating(images)
        constants = torch.tensor([self.mean, self.std], dtype=images.dtype)
        # Without waiting for the device, as a copy would that blocks.
        mean, std = constants.to(images.device, non_blocking=True).reshape(2, -1, 1, 1)
        return (images - 255 * mean) / (255 * std)
