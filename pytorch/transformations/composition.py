"""One transformation after another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from torch import Tensor

from pytorch.transformations.inverse import Inverse


@dataclass(frozen=True)
class Composition:
    """Apply transformations one after another.

    Attributes:
        parts: The transformations, in the order of application.
    """

    parts: tuple[Callable[[Tensor], Tensor], ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Transform ``images``, (B, C, H, W)."""
        for part in self.parts:
            images = part(images)
        return images

    @property
    def inverse(self) -> Callable[[Tensor], Tensor]:
        """The inverse on feature maps.

        Raises:
            AttributeError: A part has no inverse.
        """
        inverses = [part.inverse for part in self.parts]
        if all(isinstance(each, Inverse) for each in inverses):
            return reduce(Inverse.then, inverses, Inverse())
        return Composition(tuple(reversed(inverses)))

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def compositions(
    first: Sequence[Callable[[Tensor], Tensor]], second: Sequence[Callable[[Tensor], Tensor]]
) -> list[Composition]:
    """Compose every transformation of one set with every one of another, in the order of ``first``, then ``second``.

    >>> from pytorch.transformations import brightness, rotations
    >>> [str(both) for both in compositions(rotations(2), brightness(2, darkest=0.5))][:2]
    ['rotation by 0°, brightness times 1', 'rotation by 0°, brightness times 0.5']
    """
    return [Composition((before, after)) for before in first for after in second]
