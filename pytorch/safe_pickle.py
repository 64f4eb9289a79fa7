"""Reading pickles that may come from a stranger: arrays of numbers and plain containers, and nothing that runs.

A pickle names the functions that rebuild its objects. Numpy's own are too powerful to be let in (a forged dtype
makes them read memory as objects), so the two names that a contiguous array needs are given stand-ins here, which
rebuild arrays of 64-bit numbers and nothing else. Any other name is refused.
"""

import pickle
from typing import Any, BinaryIO

import numpy as np

NUMBERS = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8")}
"""The types that arrays may have, by the code under which numpy pickles them."""


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


def load(file: BinaryIO) -> Any:
    """Read one pickle of plain containers and contiguous arrays of float64 or int64, written with protocol 5.

    Raises:
        pickle.UnpicklingError: It asks for anything else. A damaged file may raise other exceptions too.
    """
    return _Unpickler(file).load()
