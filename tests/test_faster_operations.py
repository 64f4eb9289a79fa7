"""Tests of operations that training computes otherwise than PyTorch."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pytorch.experiments.faster_operations import FasterOperations, faster_operations
from pytorch.experiments.small_map_convolutions import FEWEST_WEIGHTS, convolution, gains

SHAPES = {  # batch, inputs, outputs, size, kernel, stride, padding
    "plain": (3, 5, 7, (4, 4), (3, 3), (1, 1), (1, 1)),
    "stride": (3, 5, 7, (7, 8), (3, 3), (2, 2), (1, 1)),
    "two strides": (2, 4, 3, (9, 8), (3, 2), (3, 2), (0, 1)),
    "no padding": (3, 5, 7, (4, 5), (3, 3), (1, 1), (0, 0)),
    "wide padding": (2, 3, 4, (2, 2), (3, 3), (1, 1), (3, 1)),
    "one position": (3, 5, 7, (1, 1), (3, 3), (1, 1), (1, 1)),
    "kernel of one": (3, 5, 7, (4, 4), (1, 1), (1, 1), (0, 0)),
    "even kernel": (3, 5, 7, (4, 4), (2, 4), (1, 1), (1, 2)),
}


def whole(generator: torch.Generator, *shape: int) -> Tensor:
    """Small whole numbers in bfloat16: their products and sums are exact, in whatever order."""
    return torch.randint(-3, 4, shape, generator=generator).bfloat16()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_give_the_convolution_and_its_gradients_exactly(shape: str, bias: bool) -> None:
    """Whole numbers leave no rounding, except where bfloat16 cannot hold a sum: so compare after the same rounding."""
    batch, inputs, outputs, size, kernel, stride, padding = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    images = whole(generator, batch, inputs, *size).requires_grad_()
    weight = whole(generator, outputs, inputs, *kernel).requires_grad_()
    offsets = whole(generator, outputs).requires_grad_() if bias else None
    given = [images, weight, *([offsets] if bias else [])]

    found = convolution(images, weight, offsets, stride, padding)
    twins = [tensor.detach().double().requires_grad_() for tensor in given]
    expected = functional.conv2d(twins[0], twins[1], twins[2] if bias else None, stride, padding)
    direction = whole(generator, *expected.shape)

    assert torch.equal(found, expected.bfloat16())
    for its, own in zip(
        torch.autograd.grad(found, given, direction),
        torch.autograd.grad(expected, twins, direction.double()),
        strict=True,
    ):
        torch.testing.assert_close(its.double(), own, rtol=2**-8, atol=0)


def conv2d_arguments(**changed: object) -> tuple:
    """The arguments of a convolution that gains, but for inputs and bias, as ``gains`` takes them."""
    usual = {
        "inputs": torch.empty(2, 256, 4, 4, device="meta"), "weight": torch.empty(256, 256, 3, 3, device="meta"),
        "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1,
    }  # fmt: skip
    return tuple({**usual, **changed}.values())


def test_only_plain_convolutions_of_small_maps_and_many_channels_gain() -> None:
    """Each other kind stays with PyTorch."""
    assert gains(*conv2d_arguments())
    assert gains(*conv2d_arguments(inputs=torch.empty(2, 256, 8, 8, device="meta"), stride=(2, 2)))
    for others in (
        {"inputs": torch.empty(2, 256, 5, 4, device="meta")},
        {"inputs": torch.empty(256, 4, 4, device="meta")},
        {"inputs": torch.empty(0, 256, 4, 4, device="meta")},
        {"inputs": torch.empty(2, 256, 1, 1, device="meta"), "padding": (0, 0)},
        {"weight": torch.empty(255, 256, 3, 3, device="meta")},
        {"padding": "same"},
        {"stride": 1},
        {"stride": (1,)},
        {"stride": (0, 1)},
        {"inputs": torch.empty(2, 128, 4, 4, device="meta")},
        {"inputs": torch.empty(2, 256, 4, 4, device="meta", dtype=torch.float64)},
        {"padding": 1},
        {"dilation": 1},
        {"dilation": (2, 2)},
        {"groups": 2},
    ):
        assert not gains(*conv2d_arguments(**others)), others


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_only_bf16_where_there_are_tiles_uses_products(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """With autocast, a network with a small map gives the same as without the context, to the rounding of bfloat16."""
    calls = []
    module = "pytorch.experiments.faster_operations"
    monkeypatch.setattr(f"{module}.has_tiles", lambda: True)
    monkeypatch.setattr(f"{module}.convolution", lambda *args: calls.append(args) or convolution(*args))
    torch.manual_seed(0)
    channels = int((FEWEST_WEIGHTS / 9) ** 0.5)
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    images = torch.randn(2, channels, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        expected = layer(images)
        with faster_operations(torch.device("cpu")):
            found = layer(images)
    assert len(calls) == (precision == "bf16")
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=2**-6, atol=2**-6)
    found.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_what_products_return_may_be_changed_in_place():
    """As a ReLU in place does."""
    generator = torch.Generator().manual_seed(0)
    images, weight = (whole(generator, *shape).requires_grad_() for shape in ((3, 5, 4, 4), (7, 5, 3, 3)))
    found = convolution(images, weight, None, (1, 1), (1, 1)).relu_()
    expected = functional.conv2d(images, weight, padding=1).relu()
    assert torch.equal(found, expected)
    direction = whole(generator, *expected.shape)
    for its, own in zip(
        *(torch.autograd.grad(each, (images, weight), direction) for each in (found, expected)), strict=True
    ):
        torch.testing.assert_close(its, own, rtol=2**-7, atol=0)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.2, 0.5])
def test_dropout_zeroes_the_given_fraction_and_scales_the_rest(probability: float, kind: torch.dtype) -> None:
    """Five standard errors on each side; the gradient goes where the values went."""
    values = torch.ones(8, 50, 10, 10, dtype=kind).contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.manual_seed(0)
    with FasterOperations():
        dropped = nn.Dropout(probability)(values)
    kept = dropped != 0
    error = (probability * (1 - probability) / values.numel()) ** 0.5
    assert abs(kept.double().mean().item() - (1 - probability)) < 5 * error
    assert torch.equal(dropped[kept].unique(), torch.tensor([1 / (1 - probability)], dtype=kind))
    assert dropped.dtype == kind
    assert dropped.stride() == values.stride()
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped)


@pytest.mark.parametrize(
    ("layer", "training"),
    [
        (nn.Dropout(0.5), False),
        (nn.Dropout(0.0), True),
        (nn.Dropout(1.0), True),
        (nn.Dropout(0.5, inplace=True), True),
        (nn.Dropout(0.1), True),
    ],
)
def test_other_dropout_is_that_of_pytorch(layer: nn.Dropout, training: bool) -> None:
    """In evaluation, at the ends of the range, in place, and in float64."""
    layer.train(training)
    results = []
    for context in (FasterOperations(), torch.enable_grad()):
        torch.manual_seed(0)
        values = torch.arange(1.0, 9.0, dtype=torch.float64 if layer.p == 0.1 else torch.float32)
        with context:
            results.append((layer(values), values))
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found, expected)


def test_other_devices_keep_their_operations() -> None:
    """CUDA's own kernels are fast."""
    assert not isinstance(faster_operations(torch.device("cuda")), FasterOperations)
