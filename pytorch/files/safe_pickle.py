"""A reader of pickles of plain containers and arrays of numbers that is safe with files from strangers.

A pickle names the functions that rebuild its objects. NumPy's own functions are too powerful: a forged dtype makes
them read memory as objects. So the two names that a contiguous array needs have stand-ins here, which rebuild only
arrays of 64-bit numbers.
"""

import io
import pickle
from typing import Any

import numpy as np

from pytorch.files.plain_content import PLAIN, check_plain, check_program

NUMBERS = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8")}
"""Permitted array types, by the code that numpy pickles them under."""

INSTRUCTIONS = PLAIN | {
    "FRAME", "MEMOIZE", "SHORT_BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "STACK_GLOBAL",
    "BUILD",
}  # fmt: skip
"""Instructions for plain containers and arrays, written with protocol 5."""


class _Dtype:
    """Replacement for ``numpy.dtype`` that only keeps its code and checks its byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if code not in NUMBERS:
            raise pickle.UnpicklingError(f"it has an array of type {code!r}; float64 and int64 are allowed")
        self.code = code

    def __setstate__(self, state: Any) -> None:
        if state != (3, "<", None, None, None, -1, -1, 0):
            raise pickle.UnpicklingError("it has an array of an unusual type")


class _Array:
    """Replacement for numpy's function that rebuilds an array from its bytes; it has no state."""

    __slots__ = ()

    def __call__(self, buffer: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
        return np.frombuffer(buffer, NUMBERS[dtype.code]).reshape(shape, order=order)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it would change what rebuilds arrays")


STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.numeric", "_frombuffer"): _Array(),
    ("numpy.core.numeric", "_frombuffer"): _Array(),
}
"""Replacements by module and name, for the module names of numpy 1 and 2."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return STAND_INS[module, name]


def dumps(content: Any) -> bytes:
    """Pickle plain containers and arrays so that ``loads`` can read them.

    Raises:
        InputError: The content has another type in it, such as a NumPy scalar.
    """
    pickled = pickle.dumps(content, protocol=5)
    check_plain(content, np.ndarray, len(pickled))
    return pickled


def loads(content: bytes) -> Any:
    """Rebuild one pickle of plain containers and contiguous arrays of float64 or int64, written with protocol 5.

    Raises:
        pickle.UnpicklingError, ValueError: It asks for anything else. A damaged pickle can raise other exceptions too.
    """
    check_program(content, INSTRUCTIONS)
    value = _Unpickler(io.BytesIO(content)).load()
    check_plain(value, np.ndarray, len(content))
    return value
