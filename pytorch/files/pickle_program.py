"""What a pickle would do, looked at before it is done.

A pickle is a program for a small machine: it can claim memory that its file does not fill, call functions, and make
dicts whose keys collide. Only instructions that plain data become are let through, and not more than a reader has time
for.
"""

import pickletools
from collections.abc import Collection

MOST_INSTRUCTIONS = 1_000_000

WIDEST_NUMBER = 2**63

PLAIN = frozenset((
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS", "BINGET", "LONG_BINGET", "REDUCE",
))  # fmt: skip
"""What plain containers become, with any protocol from 2, and calls, which whoever loads a pickle must restrict."""


def check_program(content: bytes, instructions: Collection[str], names: Collection[str] = ()) -> None:
    """Check the instructions of a pickle.

    Args:
        content: The pickle.
        instructions: That may occur, as ``pickletools`` calls them.
        names: Arguments of GLOBAL that may occur, the module and the name, separated by a space.

    Raises:
        ValueError: Another one occurs, or too many, or a number too large; or it is no pickle.
    """
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in instructions:
            raise ValueError(f"it has the instruction {instruction.name}, which is not admitted")
        if count > MOST_INSTRUCTIONS:
            raise ValueError("it has too many parts")
        if instruction.name == "LONG1" and not -WIDEST_NUMBER <= argument < WIDEST_NUMBER:
            raise ValueError("it has a number of more than 64 bits")
        if instruction.name == "GLOBAL" and argument not in names:
            raise ValueError(f"it asks for {argument!r}, which is not admitted")
