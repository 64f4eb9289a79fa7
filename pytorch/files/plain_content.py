"""The rules for untrusted pickles: a program that only builds plain data, and data no larger than its file.

A pickle is a program for a small machine. It can claim memory that its file does not fill, call functions, and build
dicts with colliding keys. Readers check the program before they run it, and the data afterwards.
"""

import pickletools
from collections.abc import Collection
from typing import Any

from pytorch.errors import InputError

MOST_INSTRUCTIONS = 1_000_000

WIDEST_NUMBER = 2**63

PLAIN = frozenset((
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS", "BINGET", "LONG_BINGET", "REDUCE",
))  # fmt: skip
"""Instructions for plain containers, from protocol 2 on, and for calls, which each reader must restrict."""

SCALARS = (str, int, float, bool, type(None))

DEEPEST = 32

SHARED = 8
"""How many times the size of its file a content may unfold to, as shared parts are written once."""


def check_program(content: bytes, instructions: Collection[str], names: Collection[str] = ()) -> None:
    """Check the instructions of a pickle.

    Args:
        content: The pickle.
        instructions: Permitted instructions, by their names in ``pickletools``.
        names: Permitted arguments of GLOBAL: module and name, separated by a space.

    Raises:
        ValueError: An instruction or a name is not permitted, there are too many instructions, a number is too large,
            or the content is not a pickle.
    """
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in instructions:
            raise ValueError(f"it has the instruction {instruction.name}, which is not allowed")
        if count > MOST_INSTRUCTIONS:
            raise ValueError("it has too many parts")
        if instruction.name == "LONG1" and not -WIDEST_NUMBER <= argument < WIDEST_NUMBER:
            raise ValueError("it has a number of more than 64 bits")
        if instruction.name == "GLOBAL" and argument not in names:
            raise ValueError(f"it asks for {argument!r}, which is not allowed")


def check_plain(content: Any, arrays: type, size: int) -> None:
    """Check that a content is a tree of dicts with scalar keys, lists, tuples, scalars and arrays.

    A pickle can refer to one part many times, so a hundred bytes can unfold without bound or contain themselves. It
    can also nest deeply enough to exhaust any recursive function.

    Args:
        content: The rebuilt content.
        arrays: The permitted array type.
        size: Size of the file in bytes.

    Raises:
        InputError: It is anything else, or unfolds to more than ``SHARED`` times the size of the file.
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
        raise InputError(f"it has a {type(value).__name__} in it, which is not allowed")
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError("it has text that cannot be encoded") from error
