"""Shifting images by whole pixels."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pytorch.checked_numbers import whole_number
from pytorch.errors import InputError
from pytorch.transformations.inverse import Inverse
from pytorch.transformations.warping import as_floating


@dataclass(frozen=True)
class Translation:
    """Shift every image by whole pixels, without interpolation; 0 (black) where the shifted image does not reach.

    Attributes:
        right: Pixels to the right; negative: to the left.
        down: Pixels down; negative: up.

    >>> import torch
    >>> Translation(1, 0)(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[0.0, 1.0], [0.0, 3.0]]]]
    """

    right: int
    down: int

    def __call__(self, images: Tensor) -> Tensor:
        """Shift ``images``, (B, C, H, W)."""
        height, width = images.shape[-2:]
        right, down = (max(-size, min(size, by)) for size, by in ((width, self.right), (height, self.down)))
        # Negative padding crops.
        return F.pad(as_floating(images), (right, -right, down, -down))

    @property
    def inverse(self) -> Inverse:
        """The inverse on feature maps."""
        return Inverse(shift=(float(self.right), float(self.down)))

    def __str__(self) -> str:
        return f"translation by {self.right} right, {self.down} down"


def translations(steps: int, spacing: int = 2) -> list[Translation]:
    """Shifts on a square grid about 0, row by row from the upper left.

    Shifts down and right: ``spacing`` · (j - (k - 1) / 2) pixels, j = 0 ... k - 1, k = √steps. 16 steps with the
    default spacing shift by -3, -1, 1 and 3. If k is odd, one shift is the identity.

    Args:
        steps: Number of shifts, a square number.
        spacing: Pixels between neighbouring shifts; even if k is even.

    >>> [(shift.right, shift.down) for shift in translations(4)]
    [(-1, -1), (1, -1), (-1, 1), (1, 1)]

    Raises:
        InputError: An argument is no whole number, ``steps`` is not a square number, or the shifts would not be whole
            pixels.
    """
    steps, spacing = whole_number("steps", steps), whole_number("spacing", spacing)
    side = math.isqrt(max(steps, 0))
    if steps < 1 or side * side != steps:
        raise InputError(f"{steps} translations do not form a square grid: use 4, 9, 16, 25, ...")
    if spacing < 1 or spacing * (side - 1) % 2:
        raise InputError(f"{side} × {side} shifts, {spacing} pixels apart and centred on 0, are not whole pixels")
    shifts = [spacing * step - spacing * (side - 1) // 2 for step in range(side)]
    return [Translation(right, down) for down in shifts for right in shifts]
