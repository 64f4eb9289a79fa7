"""Making images darker or brighter."""

from dataclasses import dataclass

from torch import Tensor

from pytorch.transformations.inverse import Inverse
from pytorch.transformations.scaling import geometric
from pytorch.transformations.warping import as_floating


@dataclass(frozen=True)
class Brightness:
    """Multiply the values of every image, without clipping, because the value of white is unknown.

    Attributes:
        factor: Multiplier; 0.5 halves the values.

    >>> import torch
    >>> Brightness(0.5)(torch.tensor([[[[100]]]])).item()
    50.0
    """

    factor: float

    def __call__(self, images: Tensor) -> Tensor:
        """Darken or brighten ``images``, (B, C, H, W)."""
        return as_floating(images) * self.factor

    @property
    def inverse(self) -> Inverse:
        """The inverse on feature maps: they stay as they are."""
        return Inverse()

    def __str__(self) -> str:
        return f"brightness times {self.factor:.4g}"


def brightness(steps: int, darkest: float = 0.25, brightest: float = 1.0) -> list[Brightness]:
    """Factors brightest · (darkest / brightest)^(i / (steps - 1)), the brightest first.

    With the default range the identity comes first, and no value leaves its scale.

    >>> [darker.factor for darker in brightness(3)]
    [1.0, 0.5, 0.25]

    Raises:
        InputError: ``steps`` is below 2, or the range is invalid.
    """
    return [Brightness(factor) for factor in geometric(steps, brightest, darkest, "levels of brightness")]
