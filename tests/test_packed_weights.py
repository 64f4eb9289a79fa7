"""Convolutions whose weights are put in order once: the same numbers, of the weights as they are; nothing is left."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pytorch.precision import PRECISIONS, autocast
from pytorch.transformations import rotations
from pytorch.variance import measure_variance, packed_weights
from pytorch.variance.packed_weights import can_pack

CPU = torch.device("cpu")
onednn = pytest.mark.skipif(not can_pack(), reason="PyTorch without oneDNN")


def convolution(*arguments, **options):
    torch.manual_seed(0)
    return nn.Conv2d(*arguments, **options).eval().to(memory_format=torch.channels_last)


def batch(size, channels=16, side=9):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, channels, side, side, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@onednn
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "model",
    [
        convolution(16, 32, 3),
        convolution(16, 32, 3, bias=False, padding=1),
        convolution(16, 32, 3, stride=2, padding=(0, 1)),
        convolution(16, 48, 5, dilation=2, padding=4),
        convolution(16, 32, 3, groups=4),
        convolution(16, 16, 3, groups=16, padding=1),
        convolution(16, 32, 1),
    ],
    ids=str,
)
def test_activations_are_the_same_bit_for_bit(model, precision):
    with autocast(precision, CPU):
        usual = [model(batch(size)) for size in (16, 5, 1)]
        with packed_weights.packed_weights(model) as packed:
            for _ in range(2):
                kept = [model(batch(size)) for size in (16, 5, 1)]
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # then PyTorch does not call oneDNN
        assert packed[0].weights is None
    else:
        assert packed[0].weights.dtype == (PRECISIONS[precision] or torch.float32)
    for one, other in zip(usual, kept, strict=True):
        assert torch.equal(one, other)
        assert (one.dtype, one.stride()) == (other.dtype, other.stride())


def test_a_whole_measurement_is_the_same_bit_for_bit(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=2))
    model = model.to(memory_format=torch.channels_last)
    images, labels = torch.rand(30, 3, 8, 8), torch.arange(30) % 3
    calls = []
    packs = packed_weights.PackedConvolution._packed
    monkeypatch.setattr(packed_weights.PackedConvolution, "_packed", lambda *given: (calls.append(1), packs(*given))[1])

    def measured():
        return measure_variance(model, images, labels, rotations(4), batch_size=8).normalized_variance("all")

    packed = measured()
    assert len(calls) == 2 * can_pack()
    monkeypatch.setattr(packed_weights, "can_pack", lambda: False)
    assert all((packed[name] == values).all() for name, values in measured().items())


def in_place(module):
    module.weight.mul_(2)


def by_other_memory(module):
    module.weight.data = module.weight.data * 2


def by_another_parameter(module):
    module.weight = nn.Parameter(module.weight * 2)


def by_another_view(module):
    module.weight = nn.Parameter(module.weight.transpose(2, 3))


def by_fewer_groups_of_more(module):
    module.groups, module.weight = 4, nn.Parameter(module.weight[:, :4].contiguous())


def by_another_padding(module):
    module.padding_mode, module.padding, module._reversed_padding_repeated_twice = "circular", (1, 1), [1, 1, 1, 1]


def by_another_bias(module):
    module.bias = nn.Parameter(module.bias + 1)


@pytest.mark.parametrize("change", [
        in_place, by_other_memory, by_another_parameter, by_another_view, by_fewer_groups_of_more, by_another_padding,
        by_another_bias,
    ],
)  # fmt: skip
def test_numbers_that_change_are_noticed(change):
    model, images = convolution(16, 8, 3), batch(4)
    with packed_weights.packed_weights(model):
        before = model(images)
        change(model)
        after = model(images)
    assert torch.equal(after, model(images))
    assert after.shape != before.shape or not torch.equal(after, before)


@pytest.mark.parametrize("precisions", [["fp32", "bf16", "fp32"], ["bf16", "fp32", "bf16"]], ids=str)
def test_precisions_may_change(precisions):
    model, images = convolution(16, 8, 3), batch(4)

    def called(precision):
        with autocast(precision, CPU):
            return model(images)

    with packed_weights.packed_weights(model):
        kept = [called(precision) for precision in precisions]
    assert all(torch.equal(one, called(precision)) for one, precision in zip(kept, precisions, strict=True))


def test_devices_may_change():
    model = convolution(16, 4, 3)
    with packed_weights.packed_weights(model):
        model(batch(5))
        assert model.to("meta")(batch(5).to("meta")).shape == (5, 4, 7, 7)


def test_channels_that_lie_apart_stay_so():
    model, images = nn.Conv2d(16, 8, 3), batch(4).contiguous()
    usual = model(images)
    with packed_weights.packed_weights(model) as packed:
        kept = model(images)
    assert torch.equal(kept, usual)
    assert kept.stride() == usual.stride()
    assert all(each.weights is None for each in packed)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("work", [
    lambda model, images: torch.func.jvp(model, (images,), (images.cos(),))[1],
    lambda model, images: torch.jit.trace(model, images)(images),
    lambda model, images: copy.deepcopy(model)(images),
])  # fmt: skip
def test_a_model_may_be_transformed_traced_and_copied(work):
    model, images = convolution(16, 8, 3), batch(4)
    expected = work(model, images)
    with packed_weights.packed_weights(model):
        model(images)
        assert torch.equal(work(model, images), expected)


def test_operations_of_a_convolution_that_is_no_leaf_are_seen():
    model = convolution(16, 8, 3)
    model.extra = nn.Identity()
    model = nn.Sequential(model, nn.ReLU())
    result = measure_variance(model, batch(8), None, rotations(3), layers="operations")
    assert result.layer_names == ["0.conv2d", "1"]


def test_a_convolution_without_weights_of_its_own_is_left_alone():
    model = nn.Conv2d(16, 8, 3)
    del model._parameters["weight"]
    with packed_weights.packed_weights(model) as packed:
        assert not packed


def test_gradients_flow_where_a_model_wants_them():
    model, images = convolution(16, 8, 3), batch(4)
    with packed_weights.packed_weights(model):
        model(images)
        with torch.enable_grad():
            model(images).sum().backward()
    assert model.weight.grad.abs().sum() > 0


def test_types_that_do_not_fit_are_refused_as_ever():
    model = convolution(16, 8, 3)
    with packed_weights.packed_weights(model):
        model(batch(4))
        with pytest.raises(RuntimeError, match="should be the same"):
            model(batch(4).bfloat16())
        with pytest.raises(RuntimeError, match="channels"):
            model(batch(4, channels=3))


def test_float64_and_images_without_a_batch_go_the_usual_way():
    double, single = convolution(16, 8, 3).double(), convolution(16, 8, 3)
    with packed_weights.packed_weights(nn.ModuleList([double, single])) as packed:
        many, one = double(batch(4).double()), single(batch(1)[0])
        with autocast("bf16", CPU):
            long = double(batch(4).double())
    assert torch.equal(many, double(batch(4).double()))
    assert torch.equal(long, many)
    assert torch.equal(one, single(batch(1)[0]))
    assert all(each.weights is None for each in packed)


class Mapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = convolution(16, 8, 3)
        self.act = nn.ReLU()

    def forward(self, images):
        return self.act(torch.func.vmap(self.conv)(torch.stack([images, 2 * images])))


def test_a_model_may_map_a_convolution_over_its_samples():
    model, images = Mapped(), batch(4)
    with packed_weights.packed_weights(model):
        kept = model(images)
    assert torch.equal(kept, model(images))


class Doubling(nn.Conv2d):
    def forward(self, images):
        return 2 * super().forward(images)


@pytest.mark.parametrize(
    "model",
    [
        Doubling(16, 8, 3),
        parametrizations.weight_norm(nn.Conv2d(16, 8, 3)),
        nn.Conv2d(16, 8, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(16, 8, 3, padding="same"),
        nn.Conv1d(16, 8, 3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_is_no_plain_convolution_is_left_alone(model):
    with packed_weights.packed_weights(model) as packed:
        assert not packed
        assert "_conv_forward" not in vars(model)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(16, 8, 3))
    found = {name: copy.copy(vars(module)) for name, module in model.named_modules()}
    with packed_weights.packed_weights(model), packed_weights.packed_weights(model) as again:
        assert not again
    with pytest.raises(ZeroDivisionError), packed_weights.packed_weights(model):
        raise ZeroDivisionError
    assert {name: vars(module) for name, module in model.named_modules()} == found


def test_a_convolution_that_a_model_puts_there_itself_stays():
    model = nn.Conv2d(16, 8, 3)
    with packed_weights.packed_weights(model):
        model._conv_forward = own = lambda images, weight, bias: images
    assert model._conv_forward is own


def test_a_pytorch_without_the_operations_keeps_nothing(monkeypatch):
    monkeypatch.delattr(torch._C, "_select_conv_backend")
    with packed_weights.packed_weights(nn.Conv2d(16, 8, 3)) as packed:
        assert not packed
