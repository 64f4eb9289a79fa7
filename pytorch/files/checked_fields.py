"""Checks of the fields of a dataclass, whatever file they come from: types, and lengths of names."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

LONGEST_NAME = 300
"""Maximum number of letters in the name of a layer, a class or a transformation."""


def check_fields(instance: Any) -> None:
    """Check each field of a dataclass, and of the dataclasses within it, against its annotation.

    Raises:
        ValueError: A field has another type; the message names it.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Reading:
    ...     degrees: float
    >>> check_fields(Reading(20.5))
    >>> check_fields(Reading("warm"))
    Traceback (most recent call last):
    ValueError: its degrees: str is neither float or int
    """
    hints = get_type_hints(type(instance))
    for field in fields(instance):
        value = getattr(instance, field.name)
        try:
            check_type(value, hints[field.name], collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
        except TypeCheckError as error:
            raise ValueError(f"its {field.name}: {error}") from error
        for part in _parts(value):
            if is_dataclass(part):
                check_fields(part)


def check_lengths(names: Iterable[str], longest: int = LONGEST_NAME) -> None:
    """Check that each name has a letter, and no more than ``longest``.

    Raises:
        ValueError: A name is empty or too long.
    """
    for name in names:
        demand(0 < len(name) <= longest, f"it has a name of {len(name)} letters: there are 1 to {longest}")


def demand(fits: bool, otherwise: str) -> None:
    """Raise a ValueError unless a condition holds."""
    if not fits:
        raise ValueError(otherwise)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else [value]
