"""Finite, ordered, deterministic sets of image transformations, on tensors.

A transformation is a callable on a batch (B, C, H, W); a set is a sequence of them. The values stay on the scale
they come in; the result is floating point, also for uint8 images, because interpolation makes fractions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch.errors import InputError


@dataclass(frozen=True)
class Rotation:
    """Turn every image about its centre.

    Bilinear interpolation; 0 (black) where the turned image does not reach. Multiples of 90° on square images,
    and of 180° on any, move pixels only and are exact.

    Attributes:
        degrees: Counter-clockwise.

    >>> Rotation(90)(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[2.0, 4.0], [1.0, 3.0]]]]
    """

    degrees: float

    def __call__(self, images: Tensor) -> Tensor:
        """Turn ``images``, (B, C, H, W)."""
        images = as_floating(images)
        batch, channels, height, width = images.shape
        quarters, rest = divmod(self.degrees, 90)
        if rest == 0 and (height == width or quarters % 2 == 0):
            return torch.rot90(images, int(quarters), dims=(2, 3)).contiguous()
        # One grid serves the whole batch when its images are laid out as channels of a single one.
        stacked = images.reshape(1, batch * channels, height, width)
        degrees = torch.tensor([self.degrees], dtype=torch.float64, device=images.device)
        return rotate(stacked, degrees).reshape(images.shape)

    def __str__(self) -> str:
        return f"rotation by {self.degrees:g}°"


def rotations(steps: int, degrees: float = 360) -> list[Rotation]:
    """Rotations by ``degrees`` · i / ``steps`` for i = 0 ... ``steps`` - 1: the identity first, the end left out.

    >>> [rotation.degrees for rotation in rotations(4)]
    [0.0, 90.0, 180.0, 270.0]

    Raises:
        InputError: ``steps`` is below 1.
    """
    if steps < 1:
        raise InputError(f"{steps} rotations: at least one is needed")
    return [Rotation(degrees * step / steps) for step in range(steps)]


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image by an angle of its own, bilinearly, 0 where the turned image does not reach.

    A pixel at (x, y) from the centre, y downwards, takes the value found at
    (x cos a - y sin a, x sin a + y cos a): a turn by the angle a, counter-clockwise.

    Args:
        images: (B, C, H, W).
        degrees: (B,), counter-clockwise.

    Returns:
        (B, C, H, W), floating point.
    """
    images = as_floating(images)
    if images.dtype in (torch.float16, torch.bfloat16):  # too coarse to say where a pixel comes from
        return rotate(images.float(), degrees).to(images.dtype)
    height, width = images.shape[2:]
    radians = degrees.double() * (math.pi / 180)
    cosine, sine = (function(radians).reshape(-1, 1, 1) for function in (torch.cos, torch.sin))
    x = torch.arange(width, dtype=torch.float64, device=images.device) - (width - 1) / 2
    y = (torch.arange(height, dtype=torch.float64, device=images.device) - (height - 1) / 2).unsqueeze(1)
    grid = torch.stack([(x * cosine - y * sine) * (2 / width), (x * sine + y * cosine) * (2 / height)], dim=-1)
    return F.grid_sample(images, grid.to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


def as_floating(images: Tensor) -> Tensor:
    """Floating-point images as they are, others as float32 on the same scale."""
    return images if images.is_floating_point() else images.float()


TRANSFORMATIONS: dict[str, Callable[[int], list]] = {"rotation": rotations}
"""The sets that the command line offers: name to a function of the number of steps."""
