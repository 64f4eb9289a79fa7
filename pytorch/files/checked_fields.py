"""Checks that the fields of a dataclass have their annotated types, whatever file they come from."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from typeguard import CollectionCheckStrategy, TypeCheckError, check_type


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


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else [value]
