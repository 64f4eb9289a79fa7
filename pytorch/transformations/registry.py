"""The sets that the command line offers, by name."""

from collections.abc import Callable

from torch import Tensor

from pytorch.errors import InputError
from pytorch.transformations.lighting import brightness
from pytorch.transformations.rotation import rotations
from pytorch.transformations.scaling import scalings
from pytorch.transformations.translation import translations

TRANSFORMATIONS: dict[str, Callable[[int], list]] = {
    "rotation": rotations,
    "rotation-disc": lambda steps: rotations(steps, disc=True),
    "translation": translations,
    "scale": scalings,
    "brightness": brightness,
}
"""Name to a function of the number of steps."""


def transformation_set(name: str, steps: int) -> list[Callable[[Tensor], Tensor]]:
    """Build a set with its default range.

    Raises:
        InputError: There is none of that name, or none of so many steps.

    >>> [str(scaling) for scaling in transformation_set("scale", 2)]
    ['scaling by 1', 'scaling by 0.5']
    """
    if name not in TRANSFORMATIONS:
        raise InputError(f"unknown transformation {name!r}: there are {', '.join(TRANSFORMATIONS)}")
    return TRANSFORMATIONS[name](steps)
