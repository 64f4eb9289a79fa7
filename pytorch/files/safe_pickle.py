"""Reading pickles that may come from a stranger: arrays of numbers and plain containers, and nothing that runs.

A pickle names the functions that rebuild its objects.
Numpy's own are too powerful to be let in (a forged dtype makes them read memory as objects), so the two names that a
contiguous array needs are given stand-ins here, which rebuild arrays of 64-bit numbers and nothing else.
"""

import io
import pickle
from typing import Any

import numpy as np

from pytorch.files.pickle_program import PLAIN, check_program
from pytorch.files.plain_content import check_plain

NUMBERS = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8")}
"""The types that arrays may have, by the code under which numpy pickles them."""

INSTRUCTIONS = PLAIN | {
    "FRAME", "MEMOIZE", "SHORT_BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "STACK_GLOBAL",
    "BUILD",
}  # fmt: skip
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


class _Array:
    """Stands in for numpy's function that rebuilds an array from its bytes; it has no state to be set."""

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
    check_program(content, INSTRUCTIONS)
    value = _Unpickler(io.BytesIO(content)).load()
    check_plain(value, np.ndarray, len(content))
    return value
