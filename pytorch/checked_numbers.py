"""Checks of numbers that a user gives, with one line for those that cannot be used."""

import math
from collections.abc import Callable
from numbers import Integral, Real

from pytorch.errors import InputError


def whole_number(name: str, value: object, least: int | None = None) -> int:
    """Return a whole number of any type as an int.

    Raises:
        InputError: It is no whole number, or below ``least``; the message calls it by ``name``.

    >>> whole_number("steps", 2.5)
    Traceback (most recent call last):
    pytorch.errors.InputError: steps is 2.5: it must be a whole number
    """
    if not isinstance(value, Integral) or (least is not None and value < least):
        bounds = "" if least is None else f", at least {least}"
        raise InputError(f"{name} is {value!r}: it must be a whole number{bounds}")
    return int(value)


def real_number(name: str, value: object, fits: Callable[[float], bool] = math.isfinite, bounds: str = "") -> float:
    """Return a number of any type as a float.

    Raises:
        InputError: It is no number, or does not fit the bounds; the message calls it by ``name``.

    >>> real_number("confidence", 95, lambda number: 0 < number < 1, "between 0 and 1, as 0.95")
    Traceback (most recent call last):
    pytorch.errors.InputError: confidence is 95: it must be a number between 0 and 1, as 0.95
    """
    if not isinstance(value, Real) or not fits(value):
        raise InputError(f"{name} is {value!r}: it must be a number {bounds}".rstrip())
    return float(value)
