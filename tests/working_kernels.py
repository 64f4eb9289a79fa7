"""The kernels of CUDA, interpreted where there is none; importing this skips what needs them where Triton fails."""

import warnings

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is missing")
from pytorch.variance.fast import kernels  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@triton.jit
def count(found, until):
    for number in range(until):
        triton.language.store(found, number)


def counts():
    """Whether Triton counts to a number that it is given: the interpreter of 3.6 does not, with NumPy 2.5."""
    found = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at the first compilation Triton 3.9 tells of changes to come
            count[(1,)](found, 3)
    except triton.runtime.errors.InterpreterError:
        return False
    return found.item() == 2


if not counts():
    pytest.skip("the interpreter of this Triton does not work with this NumPy", allow_module_level=True)

__all__ = ["DEVICE", "kernels"]
