"""Convolutions whose weights are put in order once, instead of in every call, on a CPU.

oneDNN, which convolves for PyTorch, wants the weights of a convolution in an order of its own, and PyTorch puts them
into it in every call. A measurement calls a network once for each batch and each transformation: to do it once saves a
share of every call that is the greater the smaller the batch. The same convolution of the same numbers is computed, so
activations are the same bit for bit.

PyTorch's compiler does this to the networks that it compiles, by the operations that are used here. They are no part of
its documented interface: where they are missing nothing is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

KINDS = {torch.float32, torch.bfloat16}
"""Types of numbers that weights are kept for."""


@contextmanager
def packed_weights(model: nn.Module) -> Iterator[list["PackedConvolution"]]:
    """A context in which the convolutions of a model, on a CPU, keep their weights as oneDNN wants them.

    Yields:
        Those that may do so: of ``nn.Conv2d`` itself, which subclasses and parametrizations are not.
    """
    modules = model.modules() if can_pack() else ()
    packed = {module: PackedConvolution(module) for module in modules if _is_plain(module)}
    try:
        for module, convolution in packed.items():
            module._conv_forward = convolution
        yield list(packed.values())
    finally:
        for module, convolution in packed.items():
            if vars(module).get("_conv_forward") is convolution:
                del module._conv_forward


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN, and the operations that are needed."""
    needed = (
        (torch.ops.mkldnn, "_reorder_convolution_weight"), (torch.ops.mkldnn, "_convolution_pointwise"),
        (torch._C, "_select_conv_backend"), (torch._C, "_conv_determine_backend_memory_format"),
        (torch._C, "_len_torch_function_stack"), (torch._C, "_len_torch_dispatch_stack"),
        (torch._C, "_get_tracing_state"), (forward_ad, "_current_level"),
        (getattr(torch._C, "_functorch", None), "maybe_current_level"),
    )  # fmt: skip
    return torch.backends.mkldnn.is_available() and all(hasattr(*each) for each in needed)


def _is_plain(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    plain = type(module) is nn.Conv2d and type(weight) is nn.Parameter and weight.is_cpu
    return plain and _is_zero_padded(module) and "_conv_forward" not in vars(module)


def _is_zero_padded(module: nn.Conv2d) -> bool:
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _is_watched() -> bool:
    """Whether operations are looked at one by one: by a mode, a transform, a trace, or for gradients."""
    return (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch._C._len_torch_function_stack() > 0
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.maybe_current_level() is not None
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )


@dataclass(frozen=True)
class _Kept:
    """Weights as oneDNN wants them, and what they were made of."""

    weights: Tensor
    source: Tensor  # held on to, so that no other weights can come to lie in its memory unnoticed
    version: int
    made_for: tuple

    def is_of(self, weight: Tensor, made_for: tuple) -> bool:
        """Whether they were made of these weights, as they are now, and for such a convolution."""
        same = self.source.data_ptr() == weight.data_ptr() and self.version == weight._version
        layouts = (self.source.shape, self.source.stride()) == (weight.shape, weight.stride())
        return same and layouts and self.made_for == made_for


class PackedConvolution:
    """Stands in for the convolution that a module computes, and gives what that gives.

    Only where PyTorch would call oneDNN, with the channels side by side (``channels_last``), and nobody watches the
    operations; anything else goes the way that it always goes. Weights that a model replaces, or changes by operations
    that PyTorch counts, are put in order anew.

    Args:
        module: Whose convolution it is.
    """

    def __init__(self, module: nn.Conv2d) -> None:
        self._module = module
        self._kept: _Kept | None = None
        self._fits: dict[tuple, bool] = {}

    def __getstate__(self) -> dict[str, object]:
        """A copy, in the copy of the module, begins anew: what oneDNN has put in order cannot be copied."""
        return {"_module": self._module, "_kept": None, "_fits": {}}

    @property
    def weights(self) -> Tensor | None:
        """As oneDNN wants them; None as long as they have not been put in order."""
        return None if self._kept is None else self._kept.weights

    def __call__(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve as ``nn.Conv2d._conv_forward``, whose arguments these are."""
        module = self._module
        cast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        if _is_watched() or not self._is_for_onednn(inputs, weight, bias, cast):
            return nn.Conv2d._conv_forward(module, inputs, weight, bias)
        kind = cast or weight.dtype
        how = module.padding, module.stride, module.dilation, module.groups
        made_for = kind, *how
        kept = self._kept
        if kept is None or not kept.is_of(weight, made_for):
            kept = self._kept = self._packed(inputs, weight, made_for)
        return torch.ops.mkldnn._convolution_pointwise(
            inputs.to(kind), kept.weights, None if bias is None else bias.to(kind), *how, "none", [], "",
        )  # fmt: skip

    def _is_for_onednn(self, inputs: Tensor, weight: Tensor, bias: Tensor | None, cast: torch.dtype | None) -> bool:
        """Whether PyTorch would give these to oneDNN, with their channels side by side."""
        types = type(inputs) is Tensor and type(weight) in (Tensor, nn.Parameter) and not weight.is_inference()
        if not types or not (bias is None or bias.dtype == weight.dtype):
            return False
        module = self._module
        key = (
            inputs.shape, inputs.stride(), inputs.dtype, inputs.device,
            weight.shape, weight.stride(), weight.dtype, weight.device, cast,
            module.padding, module.padding_mode, module.stride, module.dilation, module.groups,
        )  # fmt: skip
        known = self._fits.get(key)
        if known is None:
            known = False
            with suppress(Exception):  # images without a batch, tensors of an odd kind: the module knows what to do
                known = self._choice(inputs, weight, bias, cast)
            self._fits[key] = known
        return known

    def _choice(self, inputs: Tensor, weight: Tensor, bias: Tensor | None, cast: torch.dtype | None) -> bool:
        """Ask PyTorch."""
        module, kind = self._module, cast or weight.dtype
        fit = inputs.is_cpu and _is_zero_padded(module) and (cast is not None or inputs.dtype == weight.dtype)
        if not fit or not {inputs.dtype, weight.dtype, kind} <= KINDS:
            return False
        values, factors, offset = inputs.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        how = module.stride, module.padding, module.dilation, False, (0, 0), module.groups
        backend = torch._C._select_conv_backend(values, factors, offset, *how)
        layout = torch._C._conv_determine_backend_memory_format(values, factors, backend)
        return backend == torch._C._ConvBackend.Mkldnn and layout == torch.channels_last

    def _packed(self, inputs: Tensor, weight: Tensor, made_for: tuple) -> _Kept:
        kind, *how = made_for
        source = weight.detach()
        weights = torch.ops.mkldnn._reorder_convolution_weight(source.to(kind), *how, inputs.shape)
        return _Kept(weights, source, weight._version, made_for)
