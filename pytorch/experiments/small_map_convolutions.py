"""Convolutions of small feature maps by matrix products in bfloat16, for processors that multiply tiles of it.

PyTorch's convolutions come from oneDNN. Maps of 2 × 2 or 4 × 4 fill its tiles poorly, most of all in the gradient of
the weights. A convolution may be a product of all windows with all filters instead. With 512 channels, forward and
backward together then take 0.2 (2 × 2) and 0.4 times (4 × 4) as long, in batches of 128.

Source:
    Chellapilla, Puri, Simard (2006), High Performance Convolutional Neural Networks for Document Processing.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import pad

Pair = tuple[int, int]

MOST_POSITIONS = 16
"""Positions of the largest output map; in larger maps, copying the windows costs more than products save."""

FEWEST_WEIGHTS = 256 * 256 * 9
"""Weights of the smallest convolution that gains."""

CONVERTED = {torch.float32, torch.bfloat16}
"""Types that autocast converts to bfloat16, or leaves so."""


@cache
def has_tiles() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (Intel AMX)."""
    return getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)


def gains(inputs: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    """Whether a convolution gains: called as by ``nn.Conv2d``, of small maps and many channels, without extras."""
    are_pairs = all(isinstance(each, tuple) and len(each) == 2 for each in (stride, padding))
    if not are_pairs or (dilation, groups) != ((1, 1), 1) or min(stride) < 1:
        return False
    if inputs.ndim != 4 or len(inputs) == 0 or inputs.shape[1] != weight.shape[1] or weight.numel() < FEWEST_WEIGHTS:
        return False
    rows, columns = _outputs(inputs, weight, stride, padding)
    return min(rows, columns) > 0 and rows * columns <= MOST_POSITIONS and {inputs.dtype, weight.dtype} <= CONVERTED


def _outputs(inputs: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> list[int]:
    """Return the height and width of the output of a convolution."""
    sizes = zip(inputs.shape[2:], weight.shape[2:], stride, padding, strict=True)
    return [(size + 2 * margin - kernel) // step + 1 for size, kernel, step, margin in sizes]


def convolution(inputs: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    """Return a convolution in bfloat16, (B, O, rows, columns), channels last; the arguments are those of ``conv2d``."""
    with torch.autocast("cpu", enabled=False):
        product = _Products.apply(inputs.bfloat16(), weight.bfloat16(), stride, padding)
        outputs = product.view(len(inputs), *_outputs(inputs, weight, stride, padding), -1).permute(0, 3, 1, 2)
        return outputs if bias is None else outputs + bias.bfloat16()[:, None, None]


class _Products(torch.autograd.Function):
    """The windows of a convolution times its filters, and the gradients of that, in bfloat16."""

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        """Return the output, (B · rows · columns, O); the arguments are those of ``conv2d``."""
        ctx.save_for_backward(inputs, weight)
        ctx.stride, ctx.padding = stride, padding
        return _windows(inputs, weight, stride, padding) @ weight.permute(0, 2, 3, 1).reshape(len(weight), -1).t()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs and of the weights."""
        inputs, weight = ctx.saved_tensors
        of_inputs = of_weight = None
        if ctx.needs_input_grad[0]:
            sizes = _outputs(inputs, weight, ctx.stride, ctx.padding)
            maps = gradient.reshape(len(inputs), *sizes, -1).permute(0, 3, 1, 2)
            of_inputs = _gradient_of_inputs(maps, inputs, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            filters = gradient.t() @ _windows(inputs, weight, ctx.stride, ctx.padding)
            of_weight = filters.view(len(weight), *weight.shape[2:], -1).permute(0, 3, 1, 2)
        return of_inputs, of_weight, None, None


def _windows(inputs: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Return what each output of a convolution is computed from, (B · rows · columns, weights of a filter)."""
    (down, right), (above, beside) = stride, padding
    padded = pad(inputs.permute(0, 2, 3, 1), (0, 0, beside, beside, above, above))
    windows = padded.unfold(1, weight.shape[2], down).unfold(2, weight.shape[3], right)
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)


def _gradient_of_inputs(gradient: Tensor, inputs: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Return the gradient of the inputs: without a stride, a convolution of the gradient with turned filters."""
    margins = [size - 1 - margin for size, margin in zip(weight.shape[2:], padding, strict=True)]
    if stride != (1, 1) or min(margins) < 0:
        sizes = [stride, padding, (1, 1), False, (0, 0), 1]
        return torch.ops.aten.convolution_backward(gradient, inputs, weight, None, *sizes, (True, False, False))[0]
    turned = weight.flip(2, 3).permute(2, 3, 0, 1).flatten(0, 2)
    outputs = _windows(gradient, weight, stride, margins) @ turned
    return outputs.view(len(inputs), *inputs.shape[2:], -1).permute(0, 3, 1, 2)
