"""In what number format networks compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16}
"""In what convolutions and matrix products are computed; with ``"fp32"`` in the model's own type."""


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """A context in which networks compute in a precision; one in another takes its place inside.

    Args:
        precision: A key of ``PRECISIONS``.
        device: Where they compute.
    """
    dtype = PRECISIONS[precision]
    with whole_mantissas(), torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        yield


@contextmanager
def whole_mantissas() -> Iterator[None]:
    """A context in which fp32 is fp32: CUDA convolutions otherwise cut its mantissa to the 10 bits of TF32.

    Who has set this operator by operator, by PyTorch's newer ``fp32_precision``, is left to it.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    try:
        kept = convolutions.allow_tf32, products.allow_tf32
    except RuntimeError:
        yield
        return
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = kept


def usual_precision(device: torch.device) -> str:
    """In what to train on a device unless something else is asked for: bf16 where it multiplies that by itself."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            built_in = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        built_in = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bf16" if built_in else "fp32"
