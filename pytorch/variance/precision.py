"""Number format in which networks compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Let networks compute in the given precision; a nested context overrides it.

    Args:
        precision: One of ``pytorch.names.PRECISIONS``.
        device: Device of the networks.
    """
    with whole_mantissas(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextmanager
def whole_mantissas() -> Iterator[None]:
    """Compute fp32 at full precision; CUDA convolutions otherwise reduce mantissas to the 10 bits of TF32.

    Settings made per operator with PyTorch's newer ``fp32_precision`` are left unchanged.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    try:
        previous = convolutions.allow_tf32, products.allow_tf32
    except RuntimeError:
        yield
        return
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = previous


def usual_precision(device: torch.device) -> str:
    """Default precision for training on a device: bf16 if the hardware multiplies it natively, else fp32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            built_in = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        built_in = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bf16" if built_in else "fp32"
