"""Content of a file that is what it seems: a tree of plain containers, no larger than the file."""

from typing import Any

from pytorch.errors import InputError

SCALARS = (str, int, float, bool, type(None))

DEEPEST = 32

SHARED = 8
"""How many times as much as the file a content may unfold to: what occurs twice is written once."""


def check_plain(content: Any, arrays: type, size: int) -> None:
    """Check that a content is a tree of dicts with text or numbers as keys, lists, tuples, scalars and arrays.

    A pickle may refer to one part many times, so that a hundred bytes unfold to as many parts as there are atoms in
    the world, or contain themselves; or nest so deep that every function that descends comes to its end.

    Args:
        content: What was rebuilt.
        arrays: The type of arrays.
        size: Of the file, in bytes.

    Raises:
        InputError: It is not, or unfolds to more than ``SHARED`` times the size of the file.
    """
    waiting, weight = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        kind = type(value)
        weight += 1 + (len(value) if kind is str else value.nbytes if kind is arrays else 0)
        if depth > DEEPEST or weight + len(waiting) > SHARED * size:
            raise InputError("its parts are too many, or nested too deep, for a file of its size")
        if issubclass(kind, dict):
            for key in value:
                _check_scalar(key)
                weight += len(str(key))
            waiting.extend((part, depth + 1) for part in value.values())
        elif kind in (list, tuple):
            waiting.extend((part, depth + 1) for part in value)
        elif kind is not arrays:
            _check_scalar(value)


def _check_scalar(value: Any) -> None:
    if type(value) not in SCALARS:
        raise InputError(f"it has a {type(value).__name__} in it, which is not admitted")
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError("it has text that cannot be written down") from error
