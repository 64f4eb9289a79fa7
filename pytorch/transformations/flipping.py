"""Mirroring images."""

from dataclasses import dataclass

from torch import Tensor

from pytorch.transformations.inverse import Inverse
from pytorch.transformations.warping import as_floating


@dataclass(frozen=True)
class Flip:
    """Mirror every image; pixels only move.

    Attributes:
        sideways: Whether left and right change places.
        upside_down: Whether top and bottom change places.

    >>> import torch
    >>> Flip(sideways=True)(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[2.0, 1.0], [4.0, 3.0]]]]
    """

    sideways: bool = False
    upside_down: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Mirror ``images``, (B, C, H, W)."""
        dims = [dim for dim, wanted in ((2, self.upside_down), (3, self.sideways)) if wanted]
        return as_floating(images).flip(dims)

    @property
    def inverse(self) -> Inverse:
        """The inverse on feature maps."""
        return Inverse(((-1.0 if self.sideways else 1.0, 0.0), (0.0, -1.0 if self.upside_down else 1.0)))

    def __str__(self) -> str:
        names = [name for name, wanted in (("sideways", self.sideways), ("upside down", self.upside_down)) if wanted]
        return f"flip {' and '.join(names)}" if names else "no flip"


def flips() -> list[Flip]:
    """The image as it is, and mirrored sideways.

    >>> [str(flip) for flip in flips()]
    ['no flip', 'flip sideways']
    """
    return [Flip(), Flip(sideways=True)]
