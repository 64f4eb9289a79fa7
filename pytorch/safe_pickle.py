"""Reading pickles that may come from a stranger: numpy arrays and plain containers, and nothing that runs."""

import pickle
from typing import Any, BinaryIO

ADMITTED = {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
} | {("numpy", "ndarray"), ("numpy", "dtype")}
"""What numpy's own pickles name, under the module names of numpy 1 and 2."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not admitted")
        return super().find_class(module, name)


def load(file: BinaryIO) -> Any:
    """Read one pickle.

    Raises:
        pickle.UnpicklingError: It asks for anything but numpy arrays and plain containers.
    """
    return _Unpickler(file).load()
