"""Reading pickles that may come from a stranger: arrays of numbers and plain containers, and nothing that runs.

A pickle is a program for a small machine. Only those of its instructions are let through that pickling plain data
makes, so that none can claim memory that the file does not fill. It also names the functions that rebuild its objects.
Numpy's own are too powerful to be let in (a forged dtype makes them read memory as objects), so the two names that a
contiguous array needs are given stand-ins here, which rebuild arrays of 64-bit numbers and nothing else.
"""

import io
import pickle
import pickletools
from typing import Any

import numpy as np

from pytorch.plain_content import check_plain

NUMBERS = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8")}
"""The types that arrays may have, by the code under which numpy pickles them."""

INSTRUCTIONS = frozenset((
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET",
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS", "STACK_GLOBAL", "REDUCE", "BUILD",
))  # fmt: skip
"""What plain containers and arrays become with protocol 5."""


class _Dtype:
    """Stands in for ``numpy.dtype``: keeps its code, checks its byte order, and does nothing else."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if code not in NUMBERS:
            raise pickle.UnpicklingError(f"it has an array of type {code!r}; float64 and int64 are admitted")
        self.code = code

    def __setstate__(self, state: Any) -> None:
        if state != (3, "<", None, None, None, -1, -1, 0):
            raise pickle.UnpicklingError("it has an array of an unusual type")


def _array(buffer: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    """Stands in for numpy's function that rebuilds an array from its bytes."""
    return np.frombuffer(buffer, NUMBERS[dtype.code]).reshape(shape, order=order)


STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.numeric", "_frombuffer"): _array,
    ("numpy.core.numeric", "_frombuffer"): _array,
}
"""What stands in for the names in a pickle, under the module names of numpy 1 and 2."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not admitted")
        return STAND_INS[module, name]


def dumps(content: Any) -> bytes:
    """Pickle plain containers and arrays as ``loads`` takes them."""
    return pickle.dumps(content, protocol=5)


def loads(content: bytes) -> Any:
    """Rebuild one pickle of plain containers and contiguous arrays of float64 or int64, written with protocol 5.

    Raises:
        pickle.UnpicklingError, ValueError: It asks for anything else. A damaged one may raise other exceptions too.
    """
    for instruction, _, _ in pickletools.genops(content):
        if instruction.name not in INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it has the instruction {instruction.name}, which is not admitted")
    value = _Unpickler(io.BytesIO(content)).load()
    check_plain(value, np.ndarray, len(content))
    return value
