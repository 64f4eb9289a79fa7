"""What a network from elsewhere takes: images of its own size, number of channels and normalisation."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError
from pytorch.transformations.warping import as_floating


@dataclass(frozen=True)
class NetworkInput:
    """Resizes and normalises transformed images; grey ones get equal channels.

    Attributes:
        size: Height and width, in pixels. Images of another size are resized, bilinear and antialiased.
        normalization: Constants of the network.
    """

    size: int
    normalization: Normalization

    def __call__(self, images: Tensor) -> Tensor:
        """Prepare images on the scale 0 to 255, (B, C, H, W); returns (B, C', size, size), floating point.

        Raises:
            InputError: The normalisation is of another number of channels.
        """
        images, channels = as_floating(images), len(self.normalization.mean)
        if images.shape[1] != channels and 1 not in (images.shape[1], channels):
            raise InputError(f"images have {images.shape[1]} channels, and the normalisation has {channels}: give mean "
                             "and standard deviation of each channel, or one for all")  # fmt: skip
        if images.shape[2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        if images.shape[1] == 1 < channels:
            images = images.expand(-1, channels, -1, -1)
        return self.normalization(images)
