"""Units that are not read from their activations: the same as those that are, and only where they may be."""

import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn

from pytorch.variance.fast import derived_units
from pytorch.variance.fast.derived_units import DerivedUnits
from pytorch.variance.recording.recorder import ActivationRecorder


class Between(nn.Module):
    """A convolution and a batch norm, with something between them."""

    def __init__(self, between=lambda x: x, norm=None):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = norm or nn.BatchNorm2d(3)
        self.between = between

    def forward(self, x):
        return self.norm(self.between(self.conv(x)))


def doubled_through_a_view(x):
    x[:1].mul_(2)
    return x


class Doubled(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


def prepared(model):
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for values in (*module.parameters(), *module.buffers()):
                if values.ndim:
                    values.data.uniform_(0.5, 2, generator=generator)
    return model.double().eval()


@pytest.fixture
def derived(monkeypatch):
    """For each layer that was recorded the aggregations that were derived rather than read, or None."""
    original, answers = DerivedUnits.derivations, []

    def derivations(*arguments):
        answer = original(*arguments)
        answers.extend(list(answer) or [None])
        return answer

    monkeypatch.setattr(DerivedUnits, "derivations", derivations)
    monkeypatch.setattr(derived_units, "FEWEST_VALUES", 0)  # the outputs of these tests are small
    return answers


class ByName(Between):
    def forward(self, x):
        return self.norm(input=self.conv(x))


def patched():
    model = Between()
    original = model.norm.forward
    model.norm.forward = lambda x: 2 * original(x)
    return model


def hooked(kind):
    model = Between()
    if kind == "before":
        model.norm.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    else:
        model.norm.register_forward_hook(lambda module, inputs, output: output + 1)
    return model


MODELS = {
    "follows": (Between(), True),
    "without weights": (Between(norm=nn.BatchNorm2d(3, affine=False)), True),
    "large eps": (Between(norm=nn.BatchNorm2d(3, eps=0.5)), True),
    "a copy": (Between(torch.clone), False),
    "changed in place": (Between(lambda x: x.mul_(2)), False),
    "changed through a view": (Between(doubled_through_a_view), False),
    "of the batch": (Between(norm=nn.BatchNorm2d(3, track_running_stats=False)), False),
    "a subclass": (Between(norm=Doubled(3)), False),
    "called by name": (ByName(), False),
    "another forward": (patched(), False),
    "hooked before": (hooked("before"), False),
    "hooked after": (hooked("after"), False),
}


class Tokens(nn.Module):
    """A layer that is applied to each position of a map, channels last."""

    def __init__(self):
        super().__init__()
        self.first = nn.LayerNorm(2)
        self.last = nn.Linear(2, 3)

    def forward(self, x):
        return self.last(self.first(x.permute(0, 2, 3, 1)))


def pointwise(between=None, last=None):
    return nn.Sequential(OrderedDict(first=between or nn.Tanh(), last=last or nn.Conv2d(2, 3, 1)))


def normalised(last):
    """A layer whose weights a hook computes before each call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the function is deprecated, and still much used
        return nn.utils.weight_norm(last)


class Twice(nn.Parameter):
    """Weights of a kind of their own, with which a convolution is twice as large."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            found = function(*args, **(kwargs or {}))
        return 2 * found if function is torch.conv2d else found


def twice():
    model = pointwise().double()
    model.last.weight = Twice(model.last.weight.detach())
    return model


POINTWISE = {
    "convolution": (pointwise(), True),
    "without bias": (pointwise(last=nn.Conv2d(2, 3, 1, bias=False, padding="same")), True),
    "linear": (Tokens(), True),
    "of the input": (pointwise(between=nn.Identity(), last=nn.Conv2d(2, 3, 1)), True),
    "strides": (pointwise(last=nn.Conv2d(2, 3, 1, stride=(1, 2))), False),
    "padding": (pointwise(last=nn.Conv2d(2, 3, 1, padding=1)), False),
    "groups": (pointwise(last=nn.Conv2d(2, 4, 1, groups=2)), False),
    "a larger window": (pointwise(last=nn.Conv2d(2, 3, (1, 3))), False),
    "weights from a hook": (pointwise(last=normalised(nn.Conv2d(2, 3, 1))), False),
    "weights of another kind": (twice(), False),
    "few positions": (pointwise(between=nn.AdaptiveAvgPool2d(7)), False),
}


@pytest.mark.parametrize(("model", "follows"), POINTWISE.values(), ids=POINTWISE.keys())
def test_the_means_of_a_linear_map_of_each_position_are_those_of_its_output(derived, model, follows):
    model, images = prepared(model), torch.rand(5, 2, 12, 12, dtype=torch.float64)
    output = model(images).detach()
    expected = output.mean((1, 2) if isinstance(model, Tokens) else (2, 3))
    with torch.no_grad(), ActivationRecorder(model, "mean", layers=["first", "last"]) as recorder:
        for _ in range(2):
            torch.testing.assert_close(recorder(images)[:, 2:], expected, rtol=1e-12, atol=1e-12)
    assert ("mean" in derived) == follows


@pytest.mark.parametrize("follows", [False, True])
def test_the_mean_of_a_small_output_is_read(derived, monkeypatch, follows):
    model, images = prepared(pointwise()), torch.rand(5, 2, 12, 12, dtype=torch.float64)
    output = model(images).detach()
    monkeypatch.setattr(derived_units, "FEWEST_VALUES", output.numel() + (not follows))
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        torch.testing.assert_close(recorder(images)[:, 2:], output.mean((2, 3)), rtol=1e-12, atol=1e-12)
    assert ("mean" in derived) == follows


def test_a_linear_map_that_keeps_its_type_is_derived_in_that_type(derived):
    class Exact(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = pointwise().double().float()

        def forward(self, x):
            with torch.autocast("cpu", enabled=False):
                return self.inner(x)

    model, images = Exact().eval(), torch.rand(5, 2, 12, 12)
    expected = model(images).detach().mean((2, 3))
    layers = ["inner.first", "inner.last"]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), ActivationRecorder(model, "mean", layers) as recorder:
        torch.testing.assert_close(recorder(images)[:, 2:], expected, rtol=1e-5, atol=1e-6)
    assert "mean" in derived


def test_a_linear_map_is_read_where_positions_hold_units(derived):
    model, images = prepared(pointwise()), torch.rand(5, 2, 3, 80, dtype=torch.float64)
    output = model(images).detach()
    with torch.no_grad(), ActivationRecorder(model, "mean", channel_axis=lambda name, module: (1, 2)) as recorder:
        torch.testing.assert_close(recorder(images)[:, 6:], output.mean(3).flatten(1))
    assert not any(derived)


def test_a_linear_map_in_a_shorter_type_is_read(derived):
    """Its weights are rounded, too, so that the mean before rounding the output would be that of other weights."""
    model, images = prepared(pointwise()).float(), torch.rand(5, 2, 12, 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), ActivationRecorder(model, "mean") as recorder:
        torch.testing.assert_close(recorder(images)[:, 2:], model(images).float().mean((2, 3)))
    assert not any(derived)


@pytest.mark.parametrize("aggregation", ["mean", "mean,max", "sum"])
@pytest.mark.parametrize(("model", "follows"), MODELS.values(), ids=MODELS.keys())
def test_the_means_are_those_of_the_output(derived, model, follows, aggregation):
    model, images = prepared(model), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    output = model(images).detach()
    with torch.no_grad(), ActivationRecorder(model, aggregation) as recorder:
        for _ in range(2):  # the second call writes into the room that the first has made
            row = recorder(images)
            units = {
                (layer.name, layer.aggregation): part
                for layer, part in zip(recorder.layers, row.split([3] * len(recorder.layers), 1), strict=True)
            }
            for how, reduced in {"mean": output.mean((2, 3)), "max": output.amax((2, 3))}.items():
                if how in aggregation:
                    torch.testing.assert_close(units["norm", how], reduced, rtol=1e-12, atol=1e-12)
    for how in ("mean", "max"):
        assert (how in derived) == (follows and how in aggregation)


@pytest.mark.parametrize(("scale", "follows"), [(-0.5, False), (0.0, False), (0.5, True)])
def test_the_maximum_follows_where_no_channel_is_turned_round(derived, scale, follows):
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    model.norm.weight.data[1] = scale
    output = model(images).detach()
    with ActivationRecorder(model, "max") as recorder:
        for _ in range(2):
            torch.testing.assert_close(recorder(images)[:, 3:], output.amax((2, 3)), rtol=1e-12, atol=1e-12)
    assert ("max" in derived) == follows


@pytest.mark.parametrize(("number", "value"), [("weight", 0.0), ("bias", torch.inf)])
def test_nan_that_infinity_makes_is_seen(number, value):
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    model.conv.weight.data.abs_()
    getattr(model.norm, number).data[1] = value
    with ActivationRecorder(model, "max") as recorder:
        recorder(images)
        images[2, :, 4, 4] = -torch.inf
        row = recorder(images)
    expected = model(images).detach().amax((2, 3))
    assert expected[2, 1].isnan()
    torch.testing.assert_close(row[:, 3:], expected, equal_nan=True)


def test_a_channel_that_is_turned_round_under_way_is_read_from_then_on(derived):
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    with torch.no_grad(), ActivationRecorder(model, "max") as recorder:
        recorder(images)
        model.norm.weight.neg_()
        row = recorder(images)
    torch.testing.assert_close(row[:, 3:], model(images).detach().amax((2, 3)))
    assert derived == [None, "max", None, None]


def test_a_layer_that_is_not_recorded_is_not_taken_for_the_one_before(derived):
    model = prepared(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)))
    images = torch.rand(5, 2, 9, 9, dtype=torch.float64)
    output = model(images).detach()
    with torch.no_grad(), ActivationRecorder(model, "mean", layers=["0", "2"]) as recorder:
        torch.testing.assert_close(recorder(images)[:, 3:], output.mean((2, 3)))
    assert not any(derived)


def test_in_a_shorter_type_the_mean_is_that_before_rounding(derived):
    """bfloat16 keeps 8 bits: outputs are rounded by up to 2⁻⁹ of themselves, the mean of 49 by less."""
    model = prepared(Between()).float()
    images = torch.rand(5, 2, 9, 9)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        convolved = model.conv(images).float()
        outputs = model(images).float()
        with ActivationRecorder(model, "mean") as recorder:
            found = recorder(images)[:, 3:]
    assert "mean" in derived
    exact = prepared(Between()).norm(convolved.double()).mean((2, 3))
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
    assert (found - outputs.mean((2, 3))).abs().max() < 2**-9 * outputs.abs().max()


@pytest.mark.parametrize("size", [7, 11, 3])  # 5, 9 and 1 positions of 5 channels
def test_of_one_dimension_the_positions_are_read(derived, size):
    """As many positions as channels, more, and one."""
    model = prepared(nn.Sequential(nn.Conv1d(2, 5, 3), nn.BatchNorm1d(5)))
    images = torch.rand(4, 2, size, dtype=torch.float64)
    output = model(images).detach()
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        torch.testing.assert_close(recorder(images)[:, 5:], output.mean(2))
    assert not any(derived)


def test_volumes_are_derived_too(derived):
    model = prepared(nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3)))
    images = torch.rand(4, 2, 5, 5, 5, dtype=torch.float64)
    output = model(images).detach()
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        torch.testing.assert_close(recorder(images)[:, 3:], output.mean((2, 3, 4)))
    assert any(derived)


def test_a_model_that_is_set_to_train_takes_its_statistics_from_the_batch(derived):
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        recorder(images)
        model.train()
        row = recorder(images)
    # Normalised by the batch itself, the mean over all samples is the bias.
    torch.testing.assert_close(row[:, 3:].mean(0), model.norm.bias.detach())
    assert derived[-1] is None


def test_a_hook_on_all_modules_is_respected(derived):
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output + 1)
    try:
        output = model(images).detach()
        with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
            row = recorder(images)
    finally:
        handle.remove()
    torch.testing.assert_close(row[:, 3:], torch.cat([output.mean((2, 3)) - 1, output.mean((2, 3))], 1))
    assert [layer.name for layer in recorder.layers] == ["conv", "norm", "Between"]  # what adds 1 to it
    assert not any(derived)


class DoubledReLU(nn.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


class Changed(nn.Module):
    """A convolution, a ReLU, and between them something that is no module."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv(x).neg_())


def followed_by(last):
    """Maps of 9 × 9 of either sign, and a module that takes them."""
    return prepared(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), last))


MAXIMA = {
    "relu": (followed_by(nn.ReLU()), True),
    "relu in place": (followed_by(nn.ReLU(inplace=True)), True),
    "relu of what was changed": (prepared(Changed()), False),
    "a subclass of relu": (followed_by(DoubledReLU()), False),
    "pool of 3": (followed_by(nn.MaxPool2d(3)), True),
    "pool of 2 that leaves a line out": (followed_by(nn.MaxPool2d(2)), False),
    "pool of 2 that takes a shorter window": (followed_by(nn.MaxPool2d(2, ceil_mode=True)), True),
    "pool of 2 with padding": (followed_by(nn.MaxPool2d(2, padding=1)), True),
    "pool of overlapping windows": (followed_by(nn.MaxPool2d(3, stride=2)), True),
    "pool with gaps": (followed_by(nn.MaxPool2d(2, stride=3)), False),
    "pool with gaps along one axis": (followed_by(nn.MaxPool2d((3, 1), stride=(3, 2))), False),
    "pool with dilation": (followed_by(nn.MaxPool2d(2, stride=1, dilation=2)), False),
}


@pytest.mark.parametrize("aggregation", ["max", "mean,max", "mean"])
@pytest.mark.parametrize(("model", "follows"), MAXIMA.values(), ids=MAXIMA.keys())
def test_the_maxima_are_those_of_the_output(derived, model, follows, aggregation):
    images = torch.rand(5, 2, 9, 9, dtype=torch.float64)
    images[:, :, -1, -1] = 3  # the largest value stands in a corner, where a window may miss it
    output = model(images).detach()
    with ActivationRecorder(model, aggregation) as recorder:
        for _ in range(2):
            row = recorder(images)
            units = {
                (layer.name, layer.aggregation): part
                for layer, part in zip(recorder.layers, row.split([3] * len(recorder.layers), 1), strict=True)
            }
            last = recorder.layers[-1].name
            if "max" in aggregation:
                assert torch.equal(units[last, "max"], output.amax((2, 3)))
            if "mean" in aggregation:
                torch.testing.assert_close(units[last, "mean"], output.mean((2, 3)))
    assert ("max" in derived) == (follows and "max" in aggregation)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_chain_of_derived_units_is_that_of_its_activations(derived, dtype):
    """Convolution, batch norm, batch norm, ReLU, pooling: each follows from the one before where it can."""
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(7), nn.Flatten()]
    model = prepared(nn.Sequential(*layers)).to(dtype)
    images = torch.randn(5, 2, 9, 9).to(dtype)
    with ActivationRecorder(model, "mean,max,sum") as recorder:
        recorder(images)
        keys = [(layer.name, layer.aggregation) for layer in recorder.layers]
        found = dict(zip(keys, recorder(images).split(3, 1), strict=True))
    assert {"mean", "max"} <= set(derived)
    tolerances = {"rtol": 2**-7, "atol": 2**-7} if dtype == torch.bfloat16 else {}
    values = images
    with torch.no_grad():
        for name, module in list(model.named_children())[:-1]:
            values = module(values)
            exact = values.double()
            for how, expected in (
                ("mean", exact.mean((2, 3))),
                ("max", exact.amax((2, 3))),
                ("sum", exact.sum((2, 3))),
            ):
                part = found[name, how].double()
                torch.testing.assert_close(part, expected, **(tolerances if how == "mean" else {}), check_dtype=False)


def changed_data(model):
    model.last.weight.data = 3 * model.last.weight.data


def changed_parameter(model):
    model.last.weight = nn.Parameter(3 * model.last.weight.detach())


def changed_bias(model):
    model.last.bias = nn.Parameter(3 * model.last.bias.detach())


def changed_in_place(model):
    model.last.weight.data.mul_(3)


def turned_parameter(model):
    model.last.weight = nn.Parameter(model.last.weight.detach().transpose(0, 1))


def turned_data(model):
    model.last.weight.data = model.last.weight.data.transpose(0, 1)


@pytest.mark.parametrize(
    "change", [changed_data, changed_parameter, changed_bias, changed_in_place, turned_parameter, turned_data]
)
def test_weights_that_change_between_passes_are_those_of_the_pass(derived, change):
    """And the next batch may have another size."""
    model, images = prepared(pointwise(last=nn.Conv2d(2, 2, 1))), torch.rand(5, 2, 12, 12, dtype=torch.float64)
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        for _ in range(3):
            recorder(images)
        for inputs in (images, images, images[:2], images[:2], images):
            change(model)
            torch.testing.assert_close(recorder(inputs)[:, 2:], model(inputs).detach().mean((2, 3)))
    assert derived.count("mean") == 8


def test_a_batch_norm_whose_numbers_change_between_passes_is_followed(derived):
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    changes = {
        "shift": lambda: model.norm.running_mean.add_(1),
        "spread": lambda: model.norm.running_var.mul_(2),
        "weight": lambda: setattr(model.norm, "weight", nn.Parameter(2 * model.norm.weight.detach())),
        "bias": lambda: setattr(model.norm, "bias", nn.Parameter(2 * model.norm.bias.detach())),
        "eps": lambda: setattr(model.norm, "eps", 0.1),
    }
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        for _ in range(3):
            recorder(images)
        for name, change in changes.items():
            change()
            expected = model(images).detach().mean((2, 3))
            torch.testing.assert_close(recorder(images)[:, 3:], expected, rtol=1e-12, atol=1e-12, msg=name)
    assert derived.count("mean") == 8


def test_what_precedes_a_batch_norm_may_change_between_passes(derived):
    """Its input is that of the layer before in every second pass only."""
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        for between in (lambda x: x, lambda x: x + 1, lambda x: x, lambda x: x.mul_(2), lambda x: x):
            model.between = between
            expected = model(images).detach().mean((2, 3))
            torch.testing.assert_close(recorder(images)[:, 3:], expected, rtol=1e-12, atol=1e-12)
    assert derived[1::2] == ["mean", None, "mean", None, "mean"]


class EitherBefore(nn.Module):
    """A batch norm of one of two convolutions."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.order = self.first, self.second

    def forward(self, x):
        return self.norm([convolution(x) for convolution in self.order][-1])


def test_what_precedes_a_batch_norm_may_be_another_layer_in_another_pass(derived):
    model, images = prepared(EitherBefore()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        for turn in (1, 1, -1, -1, 1):
            model.order = (model.first, model.second)[::turn]
            expected = model(images).detach().mean((2, 3))
            torch.testing.assert_close(recorder(images)[:, 6:], expected, rtol=1e-12, atol=1e-12)
    assert derived.count("mean") == 5


def test_a_larger_batch_is_derived_though_a_smaller_one_was_read(derived, monkeypatch):
    """The first pass has two images."""
    model, images = prepared(pointwise()), torch.rand(5, 2, 12, 12, dtype=torch.float64)
    monkeypatch.setattr(derived_units, "FEWEST_VALUES", model(images).numel())
    with torch.no_grad(), ActivationRecorder(model, "mean") as recorder:
        for inputs in (images[:2], images):
            torch.testing.assert_close(recorder(inputs)[:, 2:], model(inputs).detach().mean((2, 3)))
    assert derived == [None, None, None, "mean"]


def test_activations_may_be_of_a_shorter_type_in_a_later_pass(derived):
    """Of which the maximum is no longer derived."""
    model, images = prepared(Between()).float(), torch.rand(5, 2, 9, 9)
    with torch.no_grad(), ActivationRecorder(model, "max") as recorder:
        for enabled in (False, False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                expected = [maps.float().amax((2, 3)) for maps in (model.conv(images), model(images))]
                torch.testing.assert_close(recorder(images), torch.cat(expected, 1), rtol=1e-5, atol=1e-5)
    assert derived == [None, "max", None, "max", None, None]


def test_a_pooling_that_leaves_positions_out_from_now_on_is_read(derived):
    model, images = prepared(nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2))), torch.rand(5, 2, 10, 10).double()
    with torch.no_grad(), ActivationRecorder(model, "max") as recorder:
        for kernel_size in (2, 2, 2, 1, 1):
            model[1].kernel_size = kernel_size
            torch.testing.assert_close(recorder(images)[:, 3:], model(images).detach().amax((2, 3)))
    assert derived[1::2] == ["max", "max", "max", None, None]


def with_tensor_as_weight(model):
    weight = model.norm.weight.detach().clone()
    del model.norm.weight
    model.norm.weight = weight


def with_buffer_as_weight(model):
    weight = model.norm.weight.detach().clone()
    del model.norm.weight
    model.norm.register_buffer("weight", weight)


def with_parameter_as_mean(model):
    mean = nn.Parameter(model.norm.running_mean + 1)
    del model.norm.running_mean
    model.norm.running_mean = mean


class Doubling(nn.Module):
    def forward(self, weight):
        return 2 * weight


def with_parametrization(model):
    nn.utils.parametrize.register_parametrization(model.norm, "weight", Doubling())


@pytest.mark.parametrize(
    "change", [with_tensor_as_weight, with_buffer_as_weight, with_parameter_as_mean, with_parametrization]
)
@pytest.mark.parametrize("passes", [0, 3])
def test_numbers_of_a_batch_norm_may_be_of_any_kind(change, passes):
    """From the beginning, or from some pass on."""
    model, images = prepared(Between()), torch.rand(5, 2, 9, 9, dtype=torch.float64)
    if not passes:
        change(model)
    with torch.no_grad(), ActivationRecorder(model, "mean", layers=["conv", "norm"]) as recorder:
        for _ in range(passes):
            recorder(images)
        if passes:
            change(model)
        for _ in range(3):
            expected = model(images).detach().mean((2, 3))
            torch.testing.assert_close(recorder(images)[:, 3:], expected, rtol=1e-12, atol=1e-12)


def test_a_linear_map_may_become_one_whose_weights_are_computed():
    model, images = prepared(pointwise()), torch.rand(5, 2, 12, 12, dtype=torch.float64)
    with torch.no_grad(), ActivationRecorder(model, "mean", layers=["first", "last"]) as recorder:
        for _ in range(3):
            recorder(images)
        nn.utils.parametrize.register_parametrization(model.last, "weight", Doubling())
        torch.testing.assert_close(recorder(images)[:, 2:], model(images).detach().mean((2, 3)))
