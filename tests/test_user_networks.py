"""Networks that users bring are measured by the definition, or what cannot be measured is named, with the reason."""

import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import variances
from torch import nn

from pytorch.errors import InputError
from pytorch.torchvision_import import import_torchvision
from pytorch.transformations import rotations
from pytorch.transformations.rotation import Rotation
from pytorch.variance import measure_variance

TURNS = rotations(3)
EXACT = 1e-10  # float64; see test_definition


@pytest.fixture
def photos():
    return torch.rand(14, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def build(kind, seed=0):
    torch.manual_seed(seed)
    return kind().double().eval()


def assert_measured(found, model, images, expected, transformations=TURNS, aggregate=np.mean, rtol=EXACT):
    """Compare TV and SV of some layers with those of the whole table.

    Args:
        expected: For each layer what gives its activations from images, and the axes of positions, counted from -1.
    """
    for name, (activation, axes) in expected.items():
        with torch.no_grad():
            steps = [activation(model, turn(images)).double().numpy() for turn in transformations]
        table = np.stack([aggregate(step, axis=axes) if axes else step for step in steps], axis=1)
        tv, sv, _ = variances(table)
        assert found.transformation_variance()[name].shape == (tv.shape or (1,)), name
        np.testing.assert_allclose(found.transformation_variance()[name], tv.reshape(tv.shape or (1,)), rtol=rtol)
        np.testing.assert_allclose(found.sample_variance()[name], sv.reshape(sv.shape or (1,)), rtol=rtol)


def output_of(name):
    """What gives the output of a module of a network."""

    def activation(model, inputs):
        outputs = []
        handle = model.get_submodule(name).register_forward_hook(lambda module, given, output: outputs.append(output))
        model(inputs)
        handle.remove()
        return outputs[0]

    return activation


def axes_of(found):
    return {layer.name: (layer.channel_axes, layer.axes_known) for layer in found.layers}


# Channel axes


class ChannelsLast(nn.Module):
    """As ConvNeXt has it: (B, H, W, C) between two permutations, and channels first outside."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3), nn.LayerNorm(6)
        self.up, self.act, self.down = nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 6)
        self.scale = nn.Parameter(torch.rand(6, 1, 1))

    def forward(self, x):
        x = self.stem(x)
        return x + self.scale * self.down(self.act(self.up(self.norm(x.permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)


def test_channels_may_come_last(photos):
    model = build(ChannelsLast)
    found = measure_variance(model, photos, None, TURNS, batch_size=5)
    last, first = ((3,), "known"), ((1,), "known")
    assert axes_of(found) == {
        "stem": first, "norm": last, "up": last, "act": last, "down": last, "ChannelsLast": first,
    }  # fmt: skip
    expected = {name: (output_of(name), (-3, -2)) for name in ("norm", "up", "act", "down")}
    expected |= {"stem": (output_of("stem"), (-2, -1)), "ChannelsLast": (lambda model, x: model(x), (-2, -1))}
    assert_measured(found, model, photos, expected)


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t", "swin_v2_t"])
def test_torchvision_networks_with_channels_last(name):
    torch.manual_seed(0)
    model = getattr(import_torchvision().models, name)(num_classes=5).eval()
    images = F.interpolate(torch.rand(6, 3, 8, 8), size=32)
    found = measure_variance(model, images, None, TURNS[:2])
    assert {layer.axes_known for layer in found.layers} == {"known"}
    layer = "features.1.0.block.3" if name == "convnext_tiny" else "features.0.2"
    assert_measured(found, model, images, {layer: (output_of(layer), (-3, -2))}, TURNS[:2], rtol=1e-4)


class Residual1d(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Conv1d(3, 6, 5, padding=2), nn.Conv1d(6, 6, 5, padding=2), nn.ReLU()

    def forward(self, x):
        h = self.a(x.flatten(2))
        return self.out(self.b(h) + h)


def test_a_residual_sum_of_one_dimension_keeps_its_channels(photos):
    model = build(Residual1d)
    found = measure_variance(model, photos, None, TURNS)
    assert_measured(found, model, photos, {"out": (output_of("out"), (-1,))})


class Attention(nn.Module):
    """Heads, (B, heads, L, D), and an attention map, (B, heads, L, L), each the output of a module."""

    def __init__(self):
        super().__init__()
        self.patches, self.qkv, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 24), nn.LayerNorm(4)
        self.gate, self.proj = nn.Sigmoid(), nn.Linear(8, 8)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        weights = self.gate(self.norm(q) @ k.transpose(-2, -1))
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, 8))


def test_heads_are_units(photos):
    model = build(Attention)
    found = measure_variance(model, photos, None, TURNS, batch_size=5)
    assert axes_of(found)["norm"] == ((1, 3), "known")
    assert axes_of(found)["gate"] == ((1,), "known")
    assert_measured(found, model, photos, {
        "norm": (output_of("norm"), (-2,)), "gate": (output_of("gate"), (-2, -1)),
        "proj": (output_of("proj"), (-2,)),
    })  # fmt: skip


class Windows(nn.Module):
    """Windows of 2 x 2 tokens beside the samples on the first axis, as Swin has them, and back."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.outer = nn.Conv2d(3, 4, 1), nn.Linear(4, 6), nn.ReLU()

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        windows = x.view(batch, height // 2, 2, width // 2, 2, channels).transpose(2, 3).reshape(-1, 4, channels)
        windows = self.inner(windows).view(batch, height // 2, width // 2, 2, 2, 6)
        return self.outer(windows.transpose(2, 3).reshape(batch, height, width, 6))


def test_a_layer_of_windows_is_named_and_refuses_nothing_else(photos):
    model = build(Windows)
    found = measure_variance(model, photos, None, TURNS, batch_size=5)
    assert found.layer_names == ["stem", "outer"]
    assert "its first axis is not the batch" in found.not_measured["inner"]
    assert axes_of(found)["outer"] == ((3,), "known")
    assert_measured(found, model, photos, {"outer": (output_of("outer"), (-3, -2))})
    with pytest.raises(InputError, match=r"layer inner cannot be measured: shape .* its first axis is not the batch"):
        measure_variance(model, photos, None, TURNS, layers=["inner"])


class Fields(nn.Module):
    """(B, fields, group, H, W), from the channels of a convolution, and the maximum over the group."""

    class Split(nn.Module):
        def forward(self, x):
            return torch.relu(x.unflatten(1, (3, 4)))

    def __init__(self):
        super().__init__()
        self.conv, self.split, self.norm = nn.Conv2d(3, 12, 3), self.Split(), nn.BatchNorm3d(3)

    def forward(self, x):
        return self.norm(self.split(self.conv(x))).amax(2)


def test_fields_of_a_group_are_units(photos):
    model = build(Fields)
    found = measure_variance(model, photos, None, TURNS, batch_size=5, aggregation="mean,max")
    for how, aggregate in (("mean", np.mean), ("max", np.max)):
        assert axes_of(found[how])["norm"] == ((1, 2), "known")
        expected = {name: (output_of(name), (-2, -1)) for name in ("split", "norm")}
        assert_measured(found[how], model, photos, expected, aggregate=aggregate)


class Scattering(nn.Module):
    """Paths of a scattering, (B, C, 2, H, W), by an operation that nothing is told of."""

    def forward(self, x):
        with torch._C.DisableTorchFunction():
            return torch.stack([x.cos(), x.sin()], dim=2)


def test_what_is_not_known_is_assumed_and_can_be_given(photos):
    model = nn.Sequential(Scattering())
    with pytest.warns(UserWarning, match="channel axes of 1 of 1 layers are assumed"):
        found = measure_variance(model, photos, None, TURNS)
    assert axes_of(found) == {"0": ((1, 2), "assumed")}
    assert_measured(found, model, photos, {"0": (lambda model, x: model(x), (-2, -1))})
    for axis in ({"0": 2}, {"0": (-3,)}, lambda name, module: 2 if isinstance(module, Scattering) else None):
        found = measure_variance(model, photos, None, TURNS, channel_axis=axis)
        assert axes_of(found) == {"0": ((2,), "given")}
        assert_measured(found, model, photos, {"0": (lambda model, x: model(x), (-4, -2, -1))})


@pytest.mark.parametrize(
    ("axis", "message"),
    [(3, r"channel_axis is 3: it must be as {'layer': 1}, or a function"),
     ({"0": 1.0}, r"layer 0: channel_axis is 1.0,"),
     ({"0": 5}, r"layer 0: channel_axis is 5, and an activation of shape .* has the axes 1 to 4"),
     ({"1": 1}, "channel_axis names '1', and no layer of that name was recorded")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:the channel axes")
def test_an_axis_that_there_is_not_is_named(axis, message, photos):
    with pytest.raises(InputError, match=message):
        measure_variance(nn.Sequential(Scattering()), photos, None, TURNS, channel_axis=axis)


def filled(x):
    """Two halves, put into memory of their own."""
    into = torch.empty_like(x.movedim(1, -1))
    into[..., :2], into[..., 2:] = x.movedim(1, -1)[..., 2:], x.movedim(1, -1)[..., :2]
    return into


@pytest.mark.parametrize(
    ("function", "axes", "positions"),
    [
        (lambda x: torch.einsum("bchw,kc->bhwk", x, torch.ones(5, 4).double()), (3,), (-3, -2)),
        (lambda x: x.permute(0, 2, 3, 1) @ torch.ones(4, 5).double(), (3,), (-3, -2)),
        (lambda x: x @ torch.ones(12, 5).double(), (1,), (-2, -1)),
        (lambda x: torch.einsum("bchv,vw->bchw", x, torch.ones(12, 5).double()), (1,), (-2, -1)),
        (lambda x: torch.ones(5, 12 * 12).double() @ x.flatten(2).transpose(1, 2), (2,), (-2,)),
        (lambda x: torch.cat([x, -x], 1).roll(1, 2).relu(), (1,), (-2, -1)),
        (lambda x: x.mean(2).exp(), (1,), (-1,)),
        (lambda x: x.mean(1).exp(), (), (-2, -1)),
        (lambda x: torch.stack([x, x.abs()], 1).exp(), (1, 2), (-2, -1)),
        (lambda x: x.unfold(2, 3, 3).exp(), (1,), (-3, -2, -1)),
        (lambda x: F.pixel_shuffle(x, 2).exp(), (1,), (-2, -1)),
        (lambda x: x[:, :, ::2, 1:].exp(), (1,), (-2, -1)),
        (lambda x: x.flatten(1).exp(), (1,), ()),
        (lambda x: x.transpose(1, 3)[:, 2].exp(), (2,), (-2,)),
        (lambda x: (x + x.mean((2, 3), keepdim=True)).movedim(1, -1).exp(), (3,), (-3, -2)),
        (lambda x: x.chunk(2, 1)[1].exp(), (1,), (-2, -1)),
        (filled, (3,), (-3, -2)),
    ],
)  # fmt: skip
def test_operations_hand_their_axes_on(function, axes, positions, photos):
    class Function(nn.Module):
        def forward(self, x):
            return function(x)

    model = build(lambda: nn.Sequential(nn.Conv2d(3, 4, 1), Function()))
    found = measure_variance(model, photos, None, TURNS, layers=["1"])
    assert axes_of(found) == {"1": (axes, "known")}
    assert_measured(found, model, photos, {"1": (lambda model, x: model(x), positions)})


# Layers


class Wrapped:
    def __init__(self, tensor):
        self.tensor = tensor


@dataclass
class Pair:
    logits: torch.Tensor
    hidden: torch.Tensor | None


class Wrapping(nn.Module):
    """Convolves what an object holds, and gives an object, a dataclass or a mapping."""

    class Conv(nn.Module):
        def __init__(self, into):
            super().__init__()
            self.weight, self.into = nn.Parameter(torch.randn(3, 3, 3, 3)), into

        def forward(self, x):
            return self.into(F.conv2d(x.tensor, self.weight).relu())

    def __init__(self, into, out):
        super().__init__()
        self.body, self.fc, self.out = nn.Sequential(self.Conv(Wrapped), self.Conv(into)), nn.Linear(3, 5), out

    def forward(self, x):
        return self.fc(self.out(self.body(Wrapped(x))).mean((2, 3)))


@pytest.mark.parametrize(
    ("into", "out", "name"),
    [
        (Wrapped, lambda output: output.tensor, "body.1"),
        (lambda x: Pair(x, None), lambda output: output.logits, "body.1[logits]"),
        (lambda x: OrderedDict(last=x), lambda output: output["last"], "body.1[last]"),
    ],
    ids=["object", "dataclass", "mapping"],
)
def test_tensors_within_objects_are_layers(into, out, name, photos):
    model = build(lambda: Wrapping(into, out))
    found = measure_variance(model, photos, None, TURNS, batch_size=5)
    assert (found.layer_names, found.never_called) == (["body.0", name, "fc"], [])

    def second(model, x):
        conv = [F.conv2d(x, model.body[0].weight).relu()]
        return F.conv2d(conv[0], model.body[1].weight).relu()

    assert_measured(found, model, photos, {name: (second, (-2, -1))})
    assert measure_variance(model, photos, None, TURNS, layers=["body.0"]).layer_names == ["body.0"]


def test_an_output_without_tensors_is_named(photos):
    class Says(nn.Module):
        def forward(self, x):
            return "nothing"

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.says, self.conv = Says(), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            self.says(x)
            return self.conv(x)

    found = measure_variance(build(Net), photos, None, TURNS)
    assert found.not_measured["says"] == "no tensor in its output, of type str"
    with pytest.raises(InputError, match="layer says cannot be measured: no tensor"):
        measure_variance(build(Net), photos, None, TURNS, layers="says")


class WithHelpers(nn.BatchNorm2d):
    """Computes by itself, and has children that hand its output on; as batch norms of timm do."""

    def __init__(self):
        super().__init__(4)
        self.drop, self.act = nn.Identity(), nn.Identity()

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class LowRank(nn.Linear):
    """A layer with a correction by two children, as LoRA adds them."""

    def __init__(self):
        super().__init__(4, 5)
        self.down, self.up = nn.Linear(4, 2), nn.Linear(2, 5)

    def forward(self, x):
        return super().forward(x) + self.up(self.down(x))


class Padded(nn.Conv2d):
    """Pads by a child, and convolves by itself, as convolutions of EfficientNet-Lite do."""

    def __init__(self):
        super().__init__(3, 4, 3)
        self.pad = nn.ZeroPad2d(1)

    def forward(self, x):
        return super().forward(self.pad(x))


def test_modules_with_children_that_compute_are_layers(photos):
    model = build(lambda: nn.Sequential(Padded(), WithHelpers(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), LowRank()))
    found = measure_variance(model, photos, None, TURNS)
    assert found.layer_names == ["0", "1", "2", "4.down", "4.up", "4"]
    copies = {name for name, reason in found.not_measured.items() if reason.startswith("a copy")}
    assert copies == {"0.pad", "1.drop", "1.act", "3", "Sequential"}
    expected = {"0": (output_of("0"), (-2, -1)), "1": (output_of("1"), (-2, -1)), "4": (output_of("4"), ())}
    assert_measured(found, model, photos, expected)


def test_rearranged_values_are_a_copy(photos):
    class Filled(nn.Module):
        def forward(self, x):
            return filled(x)

    model = build(lambda: nn.Sequential(nn.Conv2d(3, 4, 1), Filled(), nn.ReLU()))
    assert measure_variance(model, photos, None, TURNS).layer_names == ["0", "2"]


def test_names_of_modules_may_hold_brackets(photos):
    model = nn.Sequential()
    model.add_module("norm_[4]", nn.BatchNorm2d(3))
    model.add_module("relu#2", nn.ReLU())
    found = measure_variance(model.double(), photos - 0.5, None, TURNS)
    assert found.layer_names == ["norm_[4]", "relu#2"]
    assert measure_variance(model, photos, None, TURNS, layers=["norm_[4]"]).layer_names == ["norm_[4]"]


def test_integers_are_no_activations(photos):
    model = build(lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2, return_indices=True)))
    for layers in (None, "operations"):
        found = measure_variance(model, photos, None, TURNS, layers=layers)
        assert found.layer_names == ["0", "1[0]"]
    with pytest.raises(InputError, match="integers or booleans"):
        measure_variance(model, photos, None, TURNS, layers=["1[1]"])


class Prototypes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.points, self.embedding = nn.Conv2d(3, 6, 3), nn.Parameter(torch.randn(7, 5)), nn.Linear(5, 6)

    def forward(self, x):
        return self.conv(x).mean((2, 3)) @ self.embedding(self.points).T


class TimeFirst(nn.Module):
    """(T, B, C, H, W), as spiking networks have it."""

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 3, 3, 3))

        def forward(self, x):
            return F.conv2d(x.flatten(0, 1), self.weight).unflatten(0, x.shape[:2]).relu()

    def __init__(self):
        super().__init__()
        self.step, self.head = self.Step(), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.step(x.unsqueeze(0).repeat(7, 1, 1, 1, 1)).mean((0, 3, 4)))


@pytest.mark.parametrize("batch_size", [7, 5])
@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [(Prototypes, "embedding", "does not depend on the images"), (TimeFirst, "step", "first axis is not the batch")],
)
def test_what_is_as_long_as_the_batch_by_chance_is_left_out(kind, name, reason, batch_size, photos):
    model = build(kind)
    found = measure_variance(model, photos, None, TURNS, batch_size=batch_size)
    assert reason in found.not_measured[name]
    assert name not in found.layer_names
    assert len(found.layer_names) == (2 if kind is Prototypes else 1)


# A function of each image alone


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(F.dropout(self.conv(x).mean((2, 3)), 0.1))  # training=True is its default


class Remembering(Noisy):
    def __init__(self):
        super().__init__()
        self.state = None

    def forward(self, x):
        seen = self.conv(x).mean((2, 3))
        self.state = seen if self.state is None or len(self.state) != len(seen) else 0.5 * self.state + seen
        return self.head(self.state)

    def clear(self):
        self.state = None


class Normalizing(Noisy):
    def forward(self, x):
        seen = self.conv(x).mean((2, 3))
        return self.head(seen - seen.mean(0))


class Mixing(Noisy):
    """Mixes images as mixup does."""

    def forward(self, x):
        return self.head(self.conv(0.9 * x + 0.1 * x.flip(0)).mean((2, 3)))


@pytest.mark.parametrize("batch_size", [14, 7, 3])
@pytest.mark.parametrize(
    ("kind", "layer", "reason"),
    [
        (Noisy, "head", "random numbers"),
        (Remembering, "head", "keeps state between calls: pass reset="),
        (Normalizing, "head", "depends on the rest of the batch"),
        (Mixing, "conv", "depends on the rest of the batch"),
    ],
)
def test_a_network_that_is_no_function_of_each_image_is_refused(kind, layer, reason, batch_size, photos):
    model = build(kind)
    generator = torch.get_rng_state()
    with pytest.raises(InputError, match=f"layer {layer}: the activations of an image differ .*{reason}"):
        measure_variance(model, photos, None, TURNS, batch_size=batch_size)
    assert kind is Noisy or torch.equal(torch.get_rng_state(), generator)
    assert getattr(model, "state", None) is None
    found = measure_variance(model, photos, None, TURNS, batch_size=batch_size, check=False)
    assert found.layer_names == ["conv", "head"]


def test_the_state_of_a_network_can_be_reset(photos):
    model = build(Remembering)
    for batch_size in (14, 5):
        found = measure_variance(model, photos, None, TURNS, batch_size=batch_size, reset=model.clear)
        assert_measured(found, model, photos, {"head": (lambda model, x: model.head(model.conv(x).mean((2, 3))), ())})


def test_a_network_that_takes_batches_of_one_size(photos):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(48, 8)

        def forward(self, x):
            return self.head(F.unfold(x, 4, stride=4).transpose(1, 2).reshape(7, 9, 48))

    model = build(Fixed)
    found = measure_variance(model, photos, None, TURNS, batch_size=7)

    def halves(model, x):
        return torch.cat([model(x[:7]), model(x[7:])])

    assert_measured(found, model, photos, {"head": (halves, (-2,))})


# Transformations


def test_transformations_that_share_a_variable_are_refused(photos):
    late = [lambda batch: Rotation(angle)(batch) for angle in (0, 90, 180)]  # noqa: B023
    with pytest.raises(InputError, match="all transformations give the images of the first batch the same"):
        measure_variance(nn.Sequential(nn.Conv2d(3, 4, 3)).double(), photos, None, late)


def test_no_transformation_at_all_is_a_control(photos):
    with pytest.warns(UserWarning, match="leave the images as they are"):
        found = measure_variance(build(Noisy).conv, photos, None, [lambda batch: batch] * 2)
    assert found.global_mean() == 0


@pytest.mark.parametrize("share", [1.0, 0.2], ids=["always", "rarely"])
def test_random_transformations_are_refused(share, photos):
    def shifted(batch):
        return batch + torch.rand(()) if torch.rand(()) < share else batch

    with pytest.raises(InputError, match=r"transformation <function .*shifted.* it is random"):
        measure_variance(nn.Conv2d(3, 4, 3).double(), photos, None, [shifted] * 3)


@pytest.mark.parametrize("turn", [lambda batch: batch.roll(1, 0), lambda batch: batch - batch.mean(0)])
def test_transformations_across_the_batch_are_refused(turn, photos):
    with pytest.raises(InputError, match="it must treat each image separately"):
        measure_variance(nn.Conv2d(3, 4, 3).double(), photos, None, [lambda batch: batch, turn])


def test_random_numbers_that_change_nothing_are_allowed(photos):
    def turned(batch):
        torch.rand(3)
        return batch.rot90(1, (2, 3))

    assert measure_variance(nn.Conv2d(3, 4, 3).double(), photos, None, [lambda batch: batch, turned]).samples == 14


@pytest.mark.parametrize(("at", "who"), [("transformation", "transformation"), ("preprocess", "preprocess")])
def test_values_that_are_none_are_refused_at_once(at, who, photos):
    def spoil(batch):
        return batch / (batch - batch.flatten(1)[9, 0] if len(batch) > 9 else 1)

    turns = [*TURNS, spoil] if at == "transformation" else TURNS
    preprocess = spoil if at == "preprocess" else None
    with pytest.raises(InputError, match=f"{who} .*makes 1 images of a batch of 14 NaN or infinite"):
        measure_variance(nn.Conv2d(3, 4, 3).double(), photos, None, turns, preprocess, check=False)


# Left as found


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = [nn.Conv2d(3, 8, 3).double(), nn.BatchNorm2d(8).double(), nn.Dropout(0.5)]
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        for part in self.body:
            x = part(x)
        return self.head(x.mean((2, 3)))


class Borrowing(nn.Module):
    """Calls modules that it holds in an object of its own."""

    class Box:
        pass

    def __init__(self):
        super().__init__()
        self.box, self.head = self.Box(), nn.Linear(8, 4)
        self.box.conv, self.box.norm = nn.Conv2d(3, 8, 3).double(), nn.BatchNorm2d(8).double()

    def forward(self, x):
        return self.head(self.box.norm(self.box.conv(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "names"),
    [(Listed, ["body.0", "body.1", "head"]), (Borrowing, ["Conv2d", "BatchNorm2d", "head"])],
)
def test_modules_that_are_not_registered_are_found(kind, names, photos):
    torch.manual_seed(0)
    model = kind().double().train()
    norm = model.body[1] if kind is Listed else model.box.norm
    before = norm.running_mean.clone()
    found = measure_variance(model, photos, None, TURNS, batch_size=5)
    assert found.layer_names == names
    assert torch.equal(norm.running_mean, before)
    assert norm.training
    assert norm.num_batches_tracked == 0
    assert not norm._forward_hooks
    norm.eval()
    if kind is Listed:
        model.body[2].eval()
    activation = lambda model, x: norm(model.body[0](x)) if kind is Listed else norm(model.box.conv(x))  # noqa: E731
    assert_measured(found, model, photos, {names[1]: (activation, (-2, -1))})


class Changing(nn.Module):
    """Counts its calls in a buffer, a tensor, a list and an attribute, and trains in ``train``."""

    def __init__(self):
        super().__init__()
        self.conv, self.seen, self.last, self.total = nn.Conv2d(3, 4, 3), [0], None, torch.zeros(())
        self.register_buffer("calls", torch.zeros(()))

    def train(self, loader=None):
        self.conv.weight.data += 1

    def forward(self, x):
        self.calls += 1
        self.total += 1
        self.seen.append(len(x))
        self.last = self.conv(x)
        self.new = True
        return self.last


def test_everything_is_left_as_found(photos):
    model = Changing().double()
    model.training = True
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = set(vars(model))
    measure_variance(model, photos, None, TURNS, batch_size=5)
    assert (model.training, model.seen, model.last, model.total.item()) == (True, [0], None, 0)
    assert set(vars(model)) == attributes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_that_changes_its_parameters_is_refused(photos):
    class Learning(Changing):
        def forward(self, x):
            self.conv.weight.data.mul_(1.01)
            return self.conv(x)

    model = Learning().double()
    before = model.conv.weight.clone()
    with pytest.raises(InputError, match=r"the forward pass changes the parameter conv\.weight"):
        measure_variance(model, photos, None, TURNS, check=False)
    assert torch.equal(model.conv.weight, before)


# Types, transforms and compilers


class Sparse(nn.Module):
    def forward(self, x):
        return x.flatten(1).relu().to_sparse()


class Nested(nn.Module):
    def forward(self, x):
        return torch.nested.nested_tensor(list(x.flatten(2)), layout=torch.jagged)


class Mapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.ReLU()

    def forward(self, x):
        return torch.vmap(lambda k: self.one(x * k))(torch.ones(3)).sum(0)


@pytest.mark.parametrize(
    ("part", "name", "reason"),
    [
        (Sparse, "1", "a sparse tensor: make it dense"),
        (Nested, "1", "a nested tensor: make it dense"),
        (Mapped, "1.one", "inside torch.vmap or another transform"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_that_cannot_be_read_are_named(part, name, reason, photos):
    model = build(lambda: nn.Sequential(nn.Conv2d(3, 6, 3), part()))
    found = measure_variance(model, photos, None, TURNS)
    assert reason in found.not_measured[name]
    assert found.layer_names == (["0", "1"] if part is Mapped else ["0"])


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantized_activations_are_those_that_they_stand_for(photos):
    class Quantized(nn.Module):
        def forward(self, x):
            return torch.quantize_per_tensor(x, 0.1, 128, torch.quint8)

    model = nn.Sequential(nn.Conv2d(3, 6, 3), Quantized()).eval()
    found = measure_variance(model, photos.float(), None, TURNS)
    with torch.no_grad():
        table = np.stack([model(turn(photos.float())).dequantize().numpy().mean((2, 3)) for turn in TURNS], axis=1)
    np.testing.assert_allclose(found.transformation_variance()["1"], variances(table)[0], rtol=1e-5)


def test_parameters_of_several_types_leave_images_as_they_are():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.conv = nn.Parameter(torch.ones(())), nn.Conv2d(3, 8, 3).half()

        def forward(self, x):
            return self.conv(x) * self.scale

    found = measure_variance(Half(), torch.rand(8, 3, 9, 9), None, TURNS, preprocess=lambda batch: batch.half())
    assert found.layer_names == ["conv", "Half"]


def test_a_compiled_network_is_measured_as_it_was_written(photos):
    model = build(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    expected = measure_variance(model, photos, None, TURNS)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(photos)
    found = measure_variance(compiled, photos, None, TURNS)
    assert found.layer_names == ["_orig_mod.0", "_orig_mod.1"]
    np.testing.assert_array_equal(found.tv_all, expected.tv_all)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_traced_and_exported_networks_are_measured_as_a_whole(photos):
    body = build(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    expected = measure_variance(body, photos, None, TURNS).transformation_variance()["1"]
    traced = torch.jit.trace(body, photos)
    exported = torch.export.export(body, (photos,)).module()
    for model, name in ((traced, "TopLevelTracedModule"), (nn.Sequential(traced, nn.AvgPool2d(2)), "0"),
                        (exported, "GraphModule")):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = measure_variance(model, photos, None, TURNS, batch_size=14, channel_axis={name: 1})
        np.testing.assert_allclose(found.transformation_variance()[name], expected, rtol=1e-12)


def test_branches_may_be_computed_in_any_order(photos):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 5)
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            order = (self.a, self.b) if self.calls % 2 else (self.b, self.a)
            with ThreadPoolExecutor(1) as pool:
                maps = list(pool.map(lambda part: part(x).mean((2, 3)), order))
            return maps[0] + maps[1]

    model = build(Branches)
    found = measure_variance(model, photos, None, TURNS, batch_size=1)
    assert_measured(found, model, photos, {name: (lambda model, x, name=name: model.get_submodule(name)(x), (-2, -1))
                                           for name in "ab"})  # fmt: skip


class Experts(nn.Module):
    """Sends each image to one of two experts, of which the first batch may not need both."""

    def __init__(self):
        super().__init__()
        self.first, self.experts = nn.Linear(432, 4), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x, bright = self.first(x.flatten(1)), x.mean((1, 2, 3)) > 0.6
        found = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            if (bright == index).any():
                found[bright == index] = expert(x[bright == index])
        return self.last(found)


@pytest.mark.parametrize("layers", [["first", "last"], lambda name, module: name in ("first", "last")])
def test_modules_that_are_not_wanted_may_take_any_path(layers, photos):
    model = build(Experts)
    batches = [(photos[:7] * 0.5, None), (photos[7:] * 1.5, None)]
    found = measure_variance(model, batches, None, TURNS, layers=layers)
    assert found.layer_names == ["first", "last"]
    images = torch.cat([batch for batch, _ in batches])
    assert_measured(found, model, images, {"last": (output_of("last"), ())})


class Subclass(torch.Tensor):
    """Images with something about them, as MetaTensor has it."""


def test_images_of_a_class_of_their_own(photos):
    model = build(Noisy).conv
    found = measure_variance(model, photos.as_subclass(Subclass), None, TURNS)
    np.testing.assert_array_equal(found.tv_all, measure_variance(model, photos, None, TURNS).tv_all)


# Any number of axes


@pytest.mark.parametrize("aggregation", ["mean", "max", "sum", "none"])
@pytest.mark.parametrize("batch_size", [14, 5])
@pytest.mark.parametrize("axes", [1, 3], ids=["signals", "volumes"])
def test_signals_and_volumes(axes, batch_size, aggregation):
    conv, pool = (nn.Conv1d, nn.MaxPool1d) if axes == 1 else (nn.Conv3d, nn.MaxPool3d)
    images = torch.rand(14, 2, *[9] * axes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turns = [lambda batch, shift=shift: batch.roll(shift, -1) * (1 + shift) for shift in range(3)]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.pool, self.head = conv(2, 4, 3), nn.ReLU(), pool(2), nn.Linear(4, 3)

        def forward(self, x):
            x = self.pool(self.relu(self.conv(x) + 1))
            return self.head(x.flatten(2).mean(2))

    model = build(Net)
    found = measure_variance(model, images, None, turns, aggregation=aggregation, batch_size=batch_size)
    where = () if aggregation == "none" else tuple(range(-axes, 0))
    expected = {name: (output_of(name), where) for name in ("conv", "relu", "pool")} | {"head": (output_of("head"), ())}
    aggregate = {"mean": np.mean, "max": np.max, "sum": np.sum, "none": None}[aggregation]
    assert_measured(found, model, images, expected, turns, aggregate)


def test_tokens_are_embedded():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 6), nn.Linear(6, 4)).double()
    tokens = torch.randint(0, 20, (14, 5), generator=torch.Generator().manual_seed(1))
    turns = [lambda batch: batch, lambda batch: (batch * 7 + 1) % 20]
    found = measure_variance(model, tokens, None, turns)
    assert_measured(found, model, tokens, {"0": (output_of("0"), (-2,)), "1": (output_of("1"), (-2,))}, turns)
