"""The sets that the command line offers, by name."""

from collections.abc import Callable
from pkgutil import resolve_name

from torch import Tensor

from pytorch.errors import InputError
from pytorch.names import TRANSFORMATIONS


def transformation_set(name: str, steps: int) -> list[Callable[[Tensor], Tensor]]:
    """Build a set with its default range.

    Raises:
        InputError: The name is unknown, or the set cannot have that number of steps.

    >>> [str(scaling) for scaling in transformation_set("scale", 2)]
    ['scaling by 1', 'scaling by 0.5']
    """
    if name not in TRANSFORMATIONS:
        raise InputError(f"unknown transformation {name!r}: there are {', '.join(TRANSFORMATIONS)}")
    return resolve_name(TRANSFORMATIONS[name])(steps)
