"""Scaling the content of images."""

from dataclasses import dataclass

from torch import Tensor

from pytorch.checked_numbers import real_number, whole_number
from pytorch.errors import InputError
from pytorch.transformations.inverse import Inverse
from pytorch.transformations.warping import as_floating, warp_alike


@dataclass(frozen=True)
class Scaling:
    """Scale the content of every image about its centre; the image keeps its size.

    Bilinear interpolation without antialiasing; 0 (black) where the scaled image does not reach. A factor of 1
    changes nothing.

    Attributes:
        factor: Multiplier of lengths; 0.5 halves them, 2 doubles them.

    >>> import torch
    >>> Scaling(0.5)(torch.full((1, 1, 4, 4), 8.0))[0, 0].tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 8.0, 8.0, 0.0], [0.0, 8.0, 8.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    factor: float

    def __call__(self, images: Tensor) -> Tensor:
        """Scale ``images``, (B, C, H, W)."""
        images = as_floating(images)
        if self.factor == 1:
            return images.clone()
        return warp_alike(images, ((1 / self.factor, 0.0), (0.0, 1 / self.factor)))

    @property
    def inverse(self) -> Inverse:
        """The inverse on feature maps."""
        return Inverse(((self.factor, 0.0), (0.0, self.factor)))

    def __str__(self) -> str:
        return f"scaling by {self.factor:.4g}"


def scalings(steps: int, smallest: float = 0.5, largest: float = 1.0) -> list[Scaling]:
    """Scalings by largest · (smallest / largest)^(i / (steps - 1)), the largest first.

    With the default range the identity comes first.

    >>> [scaling.factor for scaling in scalings(3, smallest=0.25)]
    [1.0, 0.5, 0.25]

    Raises:
        InputError: ``steps`` is below 2, or the range is invalid.
    """
    return [Scaling(factor) for factor in geometric(steps, largest, smallest, "scalings")]


def geometric(steps: int, first: float, last: float, what: str) -> list[float]:
    """Return ``steps`` numbers in geometric progression from ``first`` to ``last``, both included.

    >>> geometric(3, 1, 4, "scalings")
    [1.0, 2.0, 4.0]

    Raises:
        InputError: There are fewer than two, or not a whole number of them. An end is no number above 0, or both ends
            are equal. ``what`` names them.
    """
    steps, first, last = (
        whole_number("steps", steps),
        *(real_number(f"an end of the {what}", end) for end in (first, last)),
    )
    if steps < 2:
        raise InputError(f"{steps} {what}: use at least two to reach from {first:g} to {last:g}")
    if not (first > 0 and last > 0 and first != last):
        raise InputError(f"{what} cannot reach from {first:g} to {last:g}: use two different numbers above 0")
    return [first * (last / first) ** (step / (steps - 1)) for step in range(steps)]
