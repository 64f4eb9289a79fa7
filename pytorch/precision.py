"""In what number format networks compute."""

import torch

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16}
"""In what convolutions and matrix products are computed; with ``"fp32"`` in the model's own type."""


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which networks compute in a precision; one in another takes its place inside.

    Args:
        precision: A key of ``PRECISIONS``.
        device: Where they compute.
    """
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def usual_precision(device: torch.device) -> str:
    """In what to train on a device unless something else is asked for: bf16 where it multiplies that by itself."""
    if device.type == "cuda":
        built_in = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        built_in = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bf16" if built_in else "fp32"
