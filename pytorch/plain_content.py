"""Content of a file that is what it seems: a tree of plain containers, no larger than the file."""

from typing import Any

from pytorch.errors import InputError

SCALARS = (str, int, float, bool, type(None))

DEEPEST = 32


def check_plain(content: Any, arrays: type, size: int) -> None:
    """Check that a content is a tree of dicts with text or numbers as keys, lists, tuples, scalars and arrays.

    A pickle may refer to one container many times, so that a hundred bytes unfold to as many entries as there are
    atoms in the world, or contain themselves; or nest so deep that every function that descends comes to its end.

    Args:
        content: What was rebuilt.
        arrays: The type of arrays.
        size: Of the file, in bytes; there cannot be more entries than that.

    Raises:
        InputError: It is not.
    """
    waiting, entries = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if depth > DEEPEST or entries + len(waiting) > size:
            raise InputError("its entries are too many, or nested too deep, for a file of its size")
        kind = type(value)
        if issubclass(kind, dict):
            if not all(type(key) in SCALARS for key in value):
                raise InputError("it has keys that are neither text nor numbers")
            parts = value.values()
        elif kind in (list, tuple):
            parts = value
        elif kind in SCALARS or kind is arrays:
            continue
        else:
            raise InputError(f"it has a {kind.__name__} in it, which is not admitted")
        waiting.extend((part, depth + 1) for part in parts)
