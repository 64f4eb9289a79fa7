"""Rotating images about their centre."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytorch.checked_numbers import real_number, whole_number
from pytorch.errors import InputError
from pytorch.transformations.composition import Composition
from pytorch.transformations.inverse import Inverse, rotation_inverse
from pytorch.transformations.warping import as_floating, warp, warp_alike


@dataclass(frozen=True)
class Rotation:
    """Rotate every image about its centre.

    Bilinear interpolation; 0 (black) where the rotated image does not reach. Multiples of 90° on square images, and
    of 180° on any, only move pixels and are exact.

    Attributes:
        degrees: Angle, counter-clockwise.

    >>> Rotation(90)(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[2.0, 4.0], [1.0, 3.0]]]]
    """

    degrees: float

    def __call__(self, images: Tensor) -> Tensor:
        """Rotate ``images``, (B, C, H, W)."""
        images = as_floating(images)
        quarters, rest = divmod(self.degrees, 90)
        if rest == 0 and (images.shape[2] == images.shape[3] or quarters % 2 == 0):
            return torch.rot90(images, int(quarters), dims=(2, 3)).contiguous()
        cosine, sine = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return warp_alike(images, ((cosine, -sine), (sine, cosine)))

    @property
    def inverse(self) -> Inverse:
        """The inverse on feature maps."""
        return rotation_inverse(self.degrees)

    def __str__(self) -> str:
        return f"rotation by {self.degrees:g}°"


@dataclass(frozen=True)
class DiscMask:
    """Keep the disc inscribed in the image, and set the rest to 0, to exclude the corners.

    A pixel is kept if its centre is at most (min(H, W) - 1) / 2 away from the image's centre. Under any rotation its
    value then comes from inside the image.

    >>> DiscMask()(torch.ones(1, 1, 5, 5))[0, 0].int().tolist()
    [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]]
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Mask ``images``, (B, C, H, W)."""
        height, width = images.shape[2:]
        x = torch.arange(width, device=images.device) - (width - 1) / 2
        y = torch.arange(height, device=images.device) - (height - 1) / 2
        inside = x.square() + y.square().unsqueeze(1) <= ((min(height, width) - 1) / 2) ** 2
        return torch.where(inside, as_floating(images), 0)

    @property
    def inverse(self) -> Inverse:
        """The inverse on feature maps: they stay, and only their disc is kept."""
        return Inverse(keeps_disc=True)

    def __str__(self) -> str:
        return "disc"


def rotations(steps: int, degrees: float = 360, disc: bool = False) -> list[Callable[[Tensor], Tensor]]:
    """Rotations by ``degrees`` · i / ``steps`` for i = 0 ... ``steps`` - 1: the identity first, without the end.

    Args:
        steps: Number of rotations.
        degrees: Range that they divide.
        disc: Whether to mask every image, rotated or not, to its inscribed disc: no remaining pixel enters or leaves
            the image.

    >>> [rotation.degrees for rotation in rotations(4)]
    [0.0, 90.0, 180.0, 270.0]

    Raises:
        InputError: ``steps`` is no whole number or below 1, or ``degrees`` is no number.
    """
    steps, degrees = whole_number("steps", steps), real_number("degrees", degrees)
    if steps < 1:
        raise InputError(f"{steps} rotations: use at least one")
    turns = [Rotation(degrees * step / steps) for step in range(steps)]
    return [Composition((turn, DiscMask())) for turn in turns] if disc else turns


def disc_rotations(steps: int) -> list[Callable[[Tensor], Tensor]]:
    """``rotations`` over the full turn, each masked to the inscribed disc."""
    return rotations(steps, disc=True)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image by its own angle, bilinearly; 0 where the rotated image does not reach.

    For the angle a, the pixel at (x, y) from the centre, y downwards, gets the value at
    (x cos a - y sin a, x sin a + y cos a).

    Args:
        images: (B, C, H, W).
        degrees: Angles (B,), counter-clockwise; on any device.

    Returns:
        (B, C, H, W), floating point.
    """
    # Angles from another device are copied without waiting.
    radians = degrees.to(images.device, non_blocking=True).double() * (math.pi / 180)
    cosine, sine = torch.cos(radians), torch.sin(radians)
    maps = torch.stack([torch.stack([cosine, -sine], dim=-1), torch.stack([sine, cosine], dim=-1)], dim=-2)
    return warp(as_floating(images), maps)
