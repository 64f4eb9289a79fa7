"""Networks that do what few do are measured by the definition all the same, or refused in words."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import assert_agrees, st_matrices, variances
from torch import nn
from torch.func import functional_call

from pytorch.errors import InputError
from pytorch.transformations import rotations
from pytorch.transformations.translation import Translation
from pytorch.variance import measure_variance
from pytorch.variance.measure import measure_variances
from pytorch.variance.recording.left_as_found import left_as_found
from pytorch.variance.recording.recorder import ActivationRecorder

EXACT = 1e-10  # float64; see test_definition
TURNS = rotations(3)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.other = nn.Conv2d(4, 3, 3)

    def features(self, x):
        return self.relu(self.norm(self.conv(x)))

    def forward(self, x):
        return self.other(self.features(x))


class InInferenceMode(Block):
    def forward(self, x):
        with torch.inference_mode():
            features = self.features(x)
        return self.other(features)


class WithGradients(Block):
    def forward(self, x):
        with torch.enable_grad():
            x = x.requires_grad_()
            return torch.autograd.grad(self.other(self.features(x)).sum(), x)[0]


def of(kind, seed=0):
    torch.manual_seed(seed)
    return kind().double()


def assert_same(found, expected, atol=0):
    assert found.layer_names == expected.layer_names
    for values in ("tv_all", "sv_all", "tv_classes", "sv_classes"):
        np.testing.assert_allclose(getattr(found, values), getattr(expected, values), rtol=EXACT, atol=atol)


@pytest.mark.parametrize("aggregation", ["mean", "max", "sum", "none"])
@pytest.mark.parametrize("kind", [InInferenceMode, WithGradients])
def test_a_network_chooses_its_own_gradient_mode(kind, aggregation, images, labels):
    layers = ["conv", "norm", "relu", "other"]
    found = measure_variance(of(kind), images, labels, TURNS, aggregation=aggregation, batch_size=9, layers=layers)
    assert_same(found, measure_variance(of(Block), images, labels, TURNS, aggregation=aggregation, batch_size=9))


class OtherWeights(Block):
    def forward(self, x):
        weights = {"weight": torch.full((4,), 5.0).double(), "bias": torch.ones(4).double()}
        return self.norm(self.conv(x)) + functional_call(self.norm, weights, (self.conv(x),))


class OtherStatistics(Block):
    def forward(self, x):
        with torch.no_grad():
            self.norm.running_var.fill_(1)
            first = self.norm(self.conv(x))
            self.norm.running_var.fill_(9)
        return first + self.norm(self.conv(x))


class AdaptsToTheBatch(Block):
    def forward(self, x):
        x = self.conv(x)
        self.norm.running_mean.copy_(x.mean(dim=(0, 2, 3)))
        self.norm.running_var.copy_(x.var(dim=(0, 2, 3)))
        return self.norm(x)


@pytest.mark.parametrize("kind", [OtherWeights, OtherStatistics, AdaptsToTheBatch])
def test_a_batch_norm_may_have_other_numbers_in_every_call(kind, images, labels):
    model = of(kind)
    check = kind is not AdaptsToTheBatch
    found = measure_variance(model, images, labels, TURNS, batch_size=len(images), check=check)
    images = images[list_order(labels)]
    assert_agrees(found, st_matrices(model, images, TURNS), sorted_labels(labels), EXACT, ulps=16)


def list_order(labels):
    return torch.argsort(labels, stable=True)


def sorted_labels(labels):
    return labels[list_order(labels)].numpy()


class KeepsItsOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu, self.conv, self.kept = nn.ReLU(), nn.Conv2d(2, 4, 3), None

    def forward(self, x):
        if self.kept is not None:
            self.relu(self.kept)
        else:
            self.relu(self.conv(x))
        self.kept = self.conv(x)
        return self.kept


def test_an_activation_of_an_earlier_forward_pass_is_read():
    torch.manual_seed(0)
    model = KeepsItsOutput().eval()
    batches = torch.randn(4, 3, 2, 8, 8).unbind()
    with torch.no_grad():
        model(batches[0])
    with ActivationRecorder(model, "max") as recorder:
        for batch in batches[1:]:
            expected = model.kept.relu().amax(dim=(2, 3))
            row = recorder(batch)
            columns = [layer.name for layer in recorder.layers for _ in range(layer.units)]
            found = row[:, [name == "relu" for name in columns]]
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("layers", ["operations", lambda name, module: True], ids=["all", "chosen"])
def test_an_operation_may_have_the_name_of_a_module(layers, images, labels):
    class Both(Block):
        def forward(self, x):
            return F.relu(self.other(self.relu(self.conv(x))))

    found = measure_variance(of(Both), images, labels, TURNS, layers=layers, batch_size=9)
    assert [name for name in found.layer_names if "relu" in name] == ["relu", "relu()"]


def test_operations_are_those_that_compute(images, labels):
    class Fills(Block):
        def forward(self, x):
            x = self.conv(x)
            filled = x.new_zeros(len(x), 4), torch.zeros_like(x), x.new_empty(len(x), 2)
            into = torch.empty_like(x)
            torch.mul(x, 2, out=into)
            return into + filled[1]

    found = measure_variance(of(Fills), images, labels, TURNS, layers="operations")
    assert found.layer_names == ["conv", "mul", "add"]


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d((2,)), nn.MaxPool2d([2]), nn.MaxPool2d(2, stride=()), nn.MaxPool2d(np.int64(2)),
        nn.MaxPool2d(3, padding=(1,)), nn.MaxPool2d(2, stride=[2], dilation=[1]), nn.MaxPool2d((2, 1), stride=(1, 3)),
    ],
    ids=str,
)  # fmt: skip
def test_poolings_may_be_told_in_every_way_that_torch_takes(pool, images, labels):
    model = nn.Sequential(nn.Conv2d(2, 4, 2), pool).double()
    found = measure_variance(model, images, labels, TURNS, aggregation="max", batch_size=len(images))
    images = images[list_order(labels)]
    assert_agrees(found, st_matrices(model, images, TURNS, aggregation="max"), sorted_labels(labels), EXACT, ulps=16)


@pytest.mark.parametrize("batch_size", [4, 12])
def test_a_constant_unit_is_constant_beside_layers_of_another_type(batch_size):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3).double()

        def forward(self, x):
            return self.head(self.norm(self.conv(x)).mean(dim=(2, 3)).double())

    torch.manual_seed(0)
    model = Mixed()
    with torch.no_grad():
        model.conv.weight[:2] = 0
        model.conv.bias[:2] = torch.tensor([0.1, 0.3])
    found = measure_variance(model, torch.rand(12, 2, 9, 9), torch.arange(12) % 2, TURNS, batch_size=batch_size)
    for layer in ("conv", "norm"):
        assert found.constant_units()[layer].tolist() == [True, True, False, False]


def test_what_others_do_with_its_modules_is_not_taken_for_the_network(images, labels):
    shared = nn.ReLU()
    one, two = (nn.Sequential(nn.Conv2d(2, 3, 3), shared).double() for _ in range(2))
    alone = [measure_variance(model, images, labels, TURNS, batch_size=9) for model in (one, two)]
    together = measure_variances({"one": one, "two": two}, images, labels, TURNS, batch_size=9)
    assert list(together) == ["one", "two"]
    for found, expected in zip(together.values(), alone, strict=True):
        assert_same(found, expected)
    for found in measure_variances({"one": one, "again": one}, images, labels, TURNS, batch_size=9).values():
        assert_same(found, alone[0])
    images = images - 0.5
    expected = measure_variance(one, images, labels, TURNS, preprocess=torch.relu, batch_size=9)
    assert_same(measure_variance(one, images, labels, TURNS, preprocess=shared, batch_size=9), expected)


def test_what_is_not_finite_under_one_aggregation_leaves_the_errors_of_another(images, labels):
    class Holes(nn.Module):
        def forward(self, x):
            x = x.clone()
            x[:, :, 0, 0] = -torch.inf
            return x

    model = nn.Sequential(Holes())
    both = measure_variance(model, images, labels, TURNS, aggregation="mean,max")
    alone = measure_variance(model, images, labels, TURNS, aggregation="max")
    for quantity in ("transformation", "sample", "normalized"):
        error = alone.global_error("all", quantity)
        assert both["max"].global_error("all", quantity) == pytest.approx(error, rel=1e-12)
        assert error > 0


class Acting(nn.Module):
    """Acts on its mode, or refuses to change it."""

    def train(self, mode=True):
        raise NotImplementedError("no other mode")


def test_modes_are_set_without_what_a_module_does_on_it():
    model = nn.Sequential(Acting(), nn.Dropout(), nn.Sequential(nn.Dropout().eval()))
    modes = [module.training for module in model.modules()]
    with left_as_found(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes


def plain():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).double()


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.uint64, np.int8])
def test_labels_are_integers_of_any_type(kind, images, labels):
    found = measure_variance(plain(), images, labels.numpy().astype(kind), TURNS)
    assert found.class_counts.tolist() == [5, 7, 11]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(torch.tensor(3), "labels of 23 images have shape ()"), (torch.zeros(23, dtype=torch.complex64), "complex64")],
)
def test_other_labels_are_refused(wrong, message, images):
    with pytest.raises(InputError) as error:
        measure_variance(plain(), images, wrong, TURNS)
    assert message in str(error.value)


def test_arrays_of_any_layout_and_byte_order(images, labels):
    model = plain()
    expected = measure_variance(model, images, labels, TURNS)
    backwards = images.flip(3).numpy()[..., ::-1]
    assert_same(measure_variance(model, backwards, labels, TURNS), expected)
    assert_same(measure_variance(model, images.numpy().astype(">f8"), labels, TURNS), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [(np.full((4, 2, 9, 9), None), "images are of type object"), ([([[0.0]], None)], "images are a list")],
)
def test_other_images_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        measure_variance(plain(), images, None, TURNS)


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.fft2(x)


class Empty(nn.Module):
    def forward(self, x):
        return x[:, :0]


def scripted():
    return torch.jit.script(nn.ReLU())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Spectrum, "complex activations, whose dispersion is undefined"),
        (Empty, "shape (23, 0, 7, 7): there is nothing to measure"),
        (scripted, "TorchScript, which takes no hooks"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_layers_without_a_measure_are_named(layer, message, images, labels):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), layer()).double()
    found = measure_variance(
        model, images, labels, TURNS, batch_size=23, layers=lambda name, module: module is not model
    )
    assert found.layer_names == ["0"]
    with pytest.raises(InputError) as error:
        measure_variance(model, images, labels, TURNS, layers=["1"])
    told = re.sub(r"\(\d+, 0", "(23, 0", str(error.value))
    assert told == f"layer 1 cannot be measured: {message}" or message in told
    assert not model[0]._forward_hooks


class OneDimensional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv1d(18, 4, 3), nn.BatchNorm1d(4), nn.ReLU(inplace=True)
        self.pool, self.linear = nn.MaxPool1d(2), nn.Linear(4, 6)

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.conv(x.flatten(1, 2)))))
        return self.linear(x.transpose(1, 2))


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_channels_come_first_after_a_convolution_of_one_dimension(aggregation, images, labels):
    model = of(OneDimensional)
    found = measure_variance(model, images, labels, TURNS, aggregation=aggregation, batch_size=9)
    assert found.layer_names == ["conv", "norm", "relu", "pool", "linear"]
    assert found.layer_shapes == [(4,), (4,), (4,), (4,), (6,)]
    table = dict(st_matrices(model, images, TURNS, aggregation="none"))["relu"]
    tv, sv, _ = variances(getattr(table, aggregation)(axis=3))
    np.testing.assert_allclose(found.transformation_variance()["relu"], tv, rtol=EXACT)
    np.testing.assert_allclose(found.sample_variance()["relu"], sv, rtol=EXACT)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(18, 5, batch_first=True)

    def forward(self, x):
        return self.lstm(x.flatten(2).unflatten(2, (9, 9)).transpose(1, 2).flatten(2))[0]


@pytest.mark.parametrize("layers", [None, "operations"])
def test_states_that_are_nothing_of_each_sample_are_named_and_left_out(layers, images, labels):
    model = of(Recurrent)
    found = measure_variance(model, images, labels, TURNS, layers=layers, batch_size=9)
    assert found.layer_names == ["lstm[0]"]
    assert {"lstm[1][0]", "lstm[1][1]"} <= found.not_measured.keys()
    with pytest.raises(InputError, match="first axis is not the batch"):
        measure_variance(model, images, labels, TURNS, layers=["lstm[1][0]"])


class Sequences(nn.Module):
    """Nine tokens of each sample, in whatever order of axes its parts want them."""

    def __init__(self, part):
        super().__init__()
        self.part, self.last = part, nn.Linear(18, 3)

    def forward(self, x):
        tokens = x.flatten(2).unflatten(2, (9, 9)).transpose(1, 2).flatten(2)
        tokens = tokens if getattr(self.part, "batch_first", False) else tokens.transpose(0, 1)
        self.part(tokens, tokens, tokens) if isinstance(self.part, nn.MultiheadAttention) else self.part(tokens)
        return self.last(x.flatten(2).unflatten(2, (9, 9)).transpose(1, 2).flatten(2)[:, 0])


@pytest.mark.parametrize(
    ("part", "batch", "left_out"),
    [
        (lambda: nn.LSTM(18, 5, num_layers=2, batch_first=True), 2, ["part[1][0]", "part[1][1]"]),
        (lambda: nn.GRU(18, 5, batch_first=True, bidirectional=True), 2, ["part[1]"]),
        (lambda: nn.LSTM(18, 5), 9, ["part[0]", "part[1][0]", "part[1][1]"]),
        (lambda: nn.MultiheadAttention(18, 2), 9, ["part[0]"]),
    ],
    ids=["states", "states of one tensor", "tokens first", "attention, tokens first"],
)
def test_what_is_as_long_as_a_batch_by_chance_is_no_axis_of_samples(part, batch, left_out, images, labels):
    model = of(lambda: Sequences(part()))
    images, labels = (each[: len(images) // batch * batch] for each in (images, labels))  # all batches are as long
    found = measure_variance(model, images, labels, TURNS, batch_size=batch)
    other = measure_variance(model, images, labels, TURNS, batch_size=5)
    for each in (found, other):
        assert [name for name, reason in each.not_measured.items() if "first axis" in reason] == left_out
    assert_same(found, other, atol=1e-16)  # the mean of attention is 1 / 9, and varies by its rounding
    with pytest.raises(InputError, match="first axis is not the batch"):
        measure_variance(model, images, labels, TURNS, layers=left_out[-1:], batch_size=batch)


def test_layers_of_tokens_first_are_left_out_however_many_they_are(images, labels):
    model = of(lambda: Sequences(nn.TransformerEncoderLayer(18, 2, 8)))
    for batch in (9, 5):
        found = measure_variance(model, images[:9], labels[:9], TURNS, batch_size=batch)
        assert found.layer_names == ["last"]
        assert "its first axis is not the batch" in found.not_measured["part.norm1"]
        with pytest.raises(
            InputError, match=r"layer part cannot be measured: shape .*: its first axis is not the batch"
        ):
            measure_variance(model, images[:9], labels[:9], TURNS, layers=["part"], batch_size=batch)
    assert measure_variance(model, images, labels, TURNS, layers=["last"]).layer_names == ["last"]


class TokensFirst(nn.Module):
    """As CLIP has it: (L, B, D) inside, by its own hands; and positions, which are nothing of a sample."""

    def __init__(self, within=True, positions=False):
        super().__init__()
        self.within, self.positions, self.last = nn.Linear(18, 4), nn.Embedding(9, 18), nn.Linear(18, 3)
        self.uses = within, positions

    def forward(self, x):
        tokens = x.flatten(2).unflatten(2, (9, 9)).transpose(1, 2).flatten(2)
        within, positions = self.uses
        if positions:
            tokens = tokens + self.positions(torch.arange(9))
        if within:
            self.within(tokens.transpose(0, 1))
        return self.last(tokens)


@pytest.mark.parametrize("uses", [(True, False), (False, True)], ids=["tokens", "positions"])
@pytest.mark.parametrize("layers", [None, "operations"])
def test_tokens_that_are_as_many_as_the_samples_are_not_taken_for_them(uses, layers, images, labels):
    model = of(lambda: TokensFirst(*uses))
    named, reason = ("within", "first axis is not the batch") if uses[0] else ("positions", "depend on the images")
    for batch in (9, 5):
        found = measure_variance(model, images[:9], labels[:9], TURNS, batch_size=batch, layers=layers)
        assert reason in found.not_measured[named]
        assert named not in found.layer_names
        assert "last" in found.layer_names


def test_names_of_layers_may_come_one_by_one(images, labels):
    model = of(lambda: TokensFirst(within=False))
    assert measure_variance(model, images, labels, TURNS, layers=iter(["last"])).layer_names == ["last"]
    both = measure_variances({"one": model, "again": model}, images, labels, TURNS, layers=iter(["last"]))
    assert [each.layer_names for each in both.values()] == [["last"], ["last"]]


def test_a_state_that_is_as_long_as_the_batch_by_chance_is_told_from_samples(images, labels):
    class Stateful(TokensFirst):
        def __init__(self):
            super().__init__(within=False)
            self.state = Pair()

        def forward(self, x):
            self.state(x)
            return super().forward(x)

    class Pair(nn.Module):
        def forward(self, x):
            return x, x.new_zeros(9, len(x), 2)

    for count in (9, 8):
        found = measure_variance(of(Stateful), images[:count], labels[:count], TURNS)
        assert found.not_measured["state[1]"] == "it does not depend on the images"


def test_two_layers_of_one_name_are_told_before_the_work():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict({"r": nn.ReLU(), "r#2": nn.Tanh()})

        def forward(self, x):
            return self.parts["r#2"](self.parts["r"](self.parts["r"](x)))

    with (
        ActivationRecorder(Twice(), "mean") as recorder,
        pytest.raises(InputError, match=r"two layers are called parts\.r#2: rename the module"),
    ):
        recorder(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize("shift", [(5, 0), (-4, 0), (0, 9), (4, -5)])
def test_a_shift_beyond_the_image_leaves_black(shift):
    assert Translation(*shift)(torch.ones(2, 1, 4, 4)).tolist() == torch.zeros(2, 1, 4, 4).tolist()
