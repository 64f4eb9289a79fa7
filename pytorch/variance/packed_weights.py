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

import torch
from torch import Tensor, nn

KINDS = {torch.float32, torch.bfloat16}
"""Types of numbers that weights are kept for."""


@contextmanager
def packed_weights(model: nn.Module) -> Iterator[list["PackedConvolution"]]:
    """A context in which the convolutions of a model, on a CPU, keep their weights as oneDNN wants them.

    Yields:
        Those that may do so: of ``nn.Conv2d`` itself, which subclasses and parametrizations are not.
    """
    packed = {module: PackedConvolution(module) for module in model.modules() if can_pack() and _is_plain(module)}
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
    operations = (
        (torch.ops.mkldnn, "_reorder_convolution_weight"), (torch.ops.mkldnn, "_convolution_pointwise"),
        (torch._C, "_select_conv_backend"), (torch._C, "_conv_determine_backend_memory_format"),
    )  # fmt: skip
    return torch.backends.mkldnn.is_available() and all(hasattr(*operation) for operation in operations)


def _is_plain(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.is_cpu
        and "_conv_forward" not in vars(module)
    )


class PackedConvolution:
    """Stands in for the convolution that a module computes, and gives what that gives.

    Only where PyTorch would call oneDNN, with the channels side by side (``channels_last``), and without gradients;
    anything else goes the way that it always goes. Weights that a model replaces, or changes by operations that PyTorch
    counts, are put in order anew.

    Attributes:
        weights: As oneDNN wants them; None as long as they have not been put in order.

    Args:
        module: Whose convolution it is.
    """

    def __init__(self, module: nn.Conv2d) -> None:
        self.weights: Tensor | None = None
        self._module = module
        self._made_of: tuple[Tensor, int, torch.dtype] | None = None
        self._fits: dict[tuple, bool] = {}

    def __call__(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve as ``nn.Conv2d._conv_forward``, whose arguments these are."""
        module = self._module
        cast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        plain = type(inputs) is Tensor and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if not plain or not self._is_for_onednn(inputs, weight, bias, cast):
            return nn.Conv2d._conv_forward(module, inputs, weight, bias)
        kind = cast or weight.dtype
        if not self._is_made_of(weight, kind):
            self._pack(inputs, weight, kind)
        return torch.ops.mkldnn._convolution_pointwise(
            inputs.to(kind), self.weights, None if bias is None else bias.to(kind),
            module.padding, module.stride, module.dilation, module.groups, "none", [], "",
        )  # fmt: skip

    def _is_for_onednn(self, inputs: Tensor, weight: Tensor, bias: Tensor | None, cast: torch.dtype | None) -> bool:
        """Whether PyTorch would give inputs like these to oneDNN, with their channels side by side."""
        key = inputs.shape, inputs.stride(), inputs.dtype, weight.stride(), weight.dtype, cast
        known = self._fits.get(key)
        if known is None:
            known = False
            with suppress(Exception):  # images without a batch, tensors of an odd kind: the module knows what to do
                known = self._choice(inputs, weight, bias, cast)
            self._fits[key] = known
        return known and not weight.is_inference()

    def _choice(self, inputs: Tensor, weight: Tensor, bias: Tensor | None, cast: torch.dtype | None) -> bool:
        """Ask PyTorch."""
        fit = inputs.is_cpu and (cast is not None or inputs.dtype == weight.dtype)
        if not fit or not {inputs.dtype, weight.dtype, cast or weight.dtype} <= KINDS:
            return False
        module, kind = self._module, cast or weight.dtype
        values, factors, offset = inputs.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        how = module.stride, module.padding, module.dilation, False, (0, 0), module.groups
        backend = torch._C._select_conv_backend(values, factors, offset, *how)
        layout = torch._C._conv_determine_backend_memory_format(values, factors, backend)
        return backend == torch._C._ConvBackend.Mkldnn and layout == torch.channels_last

    def _is_made_of(self, weight: Tensor, kind: torch.dtype) -> bool:
        """Whether the weights that are kept are these, as they are now."""
        if self._made_of is None:
            return False
        source, version, its_kind = self._made_of
        return source.data_ptr() == weight.data_ptr() and version == weight._version and its_kind == kind

    def _pack(self, inputs: Tensor, weight: Tensor, kind: torch.dtype) -> None:
        module = self._module
        self.weights = torch.ops.mkldnn._reorder_convolution_weight(
            weight.detach().to(kind), module.padding, module.stride, module.dilation, module.groups, inputs.shape
        )
        # Its memory is held on to, so that no other weights can come to lie there unnoticed.
        self._made_of = weight.detach(), weight._version, kind
