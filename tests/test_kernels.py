"""The kernels of CUDA, interpreted where there is none: what they make is what operations of PyTorch make."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from pytorch.errors import InputError
from pytorch.variance.fast import reader, triton_import
from pytorch.variance.fast.replay import Replay
from pytorch.variance.first_batch import CheckedRecorder
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.statistics import accumulator as accumulator_module
from pytorch.variance.statistics import block
from pytorch.variance.statistics.accumulator import VarianceAccumulator

triton = pytest.importorskip("triton", reason="Triton is missing")
from pytorch.variance.fast import kernels  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAYERS = [20, 1, 50]


@triton.jit
def count(found, until):
    for number in range(until):
        triton.language.store(found, number)


def counts():
    """Whether Triton counts to a number that it is given: the interpreter of 3.6 does not, with NumPy 2.5."""
    found = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at the first compilation Triton 3.9 tells of changes to come
            count[(1,)](found, 3)
    except triton.runtime.errors.InterpreterError:
        return False
    return found.item() == 2


if not counts():
    pytest.skip("the interpreter of this Triton does not work with this NumPy", allow_module_level=True)


def table(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def accumulated(monkeypatch):
    """A function that accumulates activations by kernels, or by operations, and returns all that follows."""

    def run(by, values, labels, dispersion="std", batch=30, at_once=2, width=1000):
        monkeypatch.setattr(accumulator_module, "kernels_for", lambda device: by)
        monkeypatch.setattr(accumulator_module, "shape_of_blocks", lambda *arguments: (width, at_once))
        found = VarianceAccumulator(values.shape[1], LAYERS, dispersion, (), DEVICE, [[0, 2], [1]], batch)
        for part, some in zip(values.to(DEVICE).split(batch), labels.split(batch), strict=True):
            found.begin(some)
            for step in range(values.shape[1]):
                found.add(part[:, step])
            found.end()
        exact = *found.transformation_variance(), *found.sample_variance(), *(map(np.asarray, found.constant_units()))
        return exact, vars(found.errors()).values()

    return run


def assert_alike(found, expected):
    for part, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-10, atol=0)
    for part, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dispersion", ["std", "variance"])
@pytest.mark.parametrize(("classes", "at_once"), [(1, 3), (3, 1), (3, 2), (11, 3)])
def test_statistics(accumulated, dispersion, classes, at_once):
    """Of batches that lack some of the classes, the last one smaller."""
    values, labels = table(40, 3, sum(LAYERS)), torch.arange(40) ** 2 % classes
    options = {"dispersion": dispersion, "at_once": at_once}
    assert_alike(accumulated(kernels, values, labels, **options), accumulated(None, values, labels, **options))


def test_statistics_of_single_precision_in_several_blocks(accumulated):
    values, labels = table(50, 2, sum(LAYERS)).float() + 1000, torch.arange(50) % 4
    assert_alike(accumulated(kernels, values, labels, width=40), accumulated(None, values, labels))


def test_constant_units_are_constant_exactly(accumulated):
    values, labels = table(50, 2, sum(LAYERS)).float() + 1000, torch.arange(50) % 4
    values[..., 5], values[..., 7], values[:, :, 9] = 0.1, values[:, :1, 7], values[:1, :, 9]
    values[labels == 2, :, 11] = values[:1, :, 11]  # a ratio in every class but this one
    (tv, _, sv, _, constant, _), _ = found = accumulated(kernels, values, labels)
    assert_alike(found, accumulated(None, values, labels))
    assert (tv[5], sv[5], tv[7], sv[9]) == (0, 0, 0, 0)
    assert constant[0] == 1


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_where_it_is(accumulated, odd):
    values, labels = table(50, 2, sum(LAYERS)), torch.arange(50) % 4
    values[4, 1, 15] = odd
    (tv, tv_classes, sv, _, _, _), _ = found = accumulated(kernels, values, labels)
    assert_alike(found, accumulated(None, values, labels))
    for of_units in (tv, sv, tv_classes[0]):
        assert np.flatnonzero(~np.isfinite(of_units)).tolist() == [15]
    assert np.isfinite(tv_classes[1:]).all()


LAYOUTS = {
    "channels last": lambda: (table(3, 70, 5, 9).to(memory_format=torch.channels_last), (2, 3)),
    "channels first": lambda: (table(3, 70, 5, 9), (2, 3)),
    "a part of a map": lambda: (table(3, 70, 15, 12)[:, :, 2:7, 1:10], (2, 3)),
    "one position": lambda: (table(3, 70, 1, 1), (2, 3)),
    "one channel": lambda: (table(3, 1, 200, 50), (2, 3)),
    "volumes": lambda: (table(3, 7, 4, 5, 6), (2, 3, 4)),
    "tokens": lambda: (table(3, 17, 70), (1,)),
    "sequences": lambda: (table(3, 70, 17), (2,)),
}


@pytest.mark.parametrize(
    ("layout", "kind", "hows"),
    [(layout, torch.float32, ("mean", "max")) for layout in LAYOUTS]
    + [("channels last", kind, ("mean", "max")) for kind in (torch.float64, torch.float16, torch.bfloat16)]
    + [("channels last", torch.float32, hows) for hows in (("mean",), ("max",), ("sum", "max"))],
)
def test_reductions_of_positions(layout, kind, hows):
    activation, axes = LAYOUTS[layout]()
    activation = activation.to(DEVICE, kind)
    units = torch.float64 if kind == torch.float64 else torch.float32
    channels = activation.shape[2 if axes == (1,) else 1]
    rows = torch.full((3, 2, channels), torch.nan, dtype=units, device=DEVICE)
    kernels.reading.reduce_positions(activation, axes, units, {how: rows[:, place] for place, how in enumerate(hows)})
    for place, how in enumerate(hows):
        exact = getattr(activation.double(), {"max": "amax"}.get(how, how))(axes)
        within = {torch.float32: 1e-5, torch.float64: 1e-13}[units] * activation.double().abs().sum(axes).max().item()
        torch.testing.assert_close(rows[:, place].double(), exact, rtol=0, atol=within)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_reductions_hide_nothing_that_is_not_finite(odd):
    activation = table(2, 5, 4, 4)
    activation[0, 3, 1, 2] = odd
    activation[1, 4] = float("-inf")
    outs = {how: torch.empty(2, 5, dtype=torch.float64, device=DEVICE) for how in ("mean", "max")}
    kernels.reading.reduce_positions(activation.to(DEVICE), (2, 3), torch.float64, outs)
    torch.testing.assert_close(outs["mean"].cpu(), activation.mean((2, 3)), equal_nan=True)
    torch.testing.assert_close(outs["max"].cpu(), activation.amax((2, 3)), equal_nan=True)


class Blocks(nn.Module):
    """Batch norms with and without a ReLU after them, and one whose ReLU gets something else."""

    def __init__(self, inplace):
        super().__init__()
        self.conv0, self.conv1, self.conv2, self.conv3 = (nn.Conv2d(channels, 5, 3) for channels in (1, 5, 5, 5))
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(5) for _ in range(3))
        self.relu = nn.ReLU(inplace=inplace)
        self.between = lambda values: None
        for number, norm in enumerate((self.norm1, self.norm2, self.norm3)):
            norm.running_mean.data, norm.running_var.data = table(2, 5, seed=number).abs()
            norm.weight.data, norm.bias.data = table(2, 5, seed=number + 7)

    def forward(self, images):
        values = self.conv1(self.relu(self.conv0(images)))
        self.between(values)
        values = self.relu(self.norm1(values))
        values = self.relu(self.norm2(self.conv2(values)) + 1)
        return self.norm3(self.conv3(values))


@pytest.fixture
def recorded(monkeypatch):
    """A function that records batches, reading chains of layers together or each layer by itself.

    Unless they are ``found`` before, chains are known after the first batch only.
    """

    def run(together, network, batches, aggregation="mean", found=False):
        monkeypatch.setattr(reader, "kernels_for", lambda device: kernels if together else None)
        with torch.no_grad(), ActivationRecorder(network, aggregation) as recorder:
            if found:
                recorder(batches[0].clone())
            return [recorder(batch.clone()).clone() for batch in batches]

    return run


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("aggregation", ["mean", "max", "mean,max", "sum", "max,none"])
def test_chains_of_layers(recorded, inplace, aggregation):
    """The first call does not know yet what follows; the sizes of batches differ."""
    network = Blocks(inplace).double().eval().to(DEVICE)
    batches = [table(size, 1, 11, 11, seed=size).to(DEVICE) for size in (3, 3, 2, 3)]
    found, expected = (recorded(together, network, batches, aggregation) for together in (True, False))
    for part, other in zip(found, expected, strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("found", [False, True])
def test_chains_are_read_together(recorded, monkeypatch, found):
    """The first has no batch norm, the last two no ReLU; what they have is written at once, and is not read again."""
    read, outs = kernels.reading.read_chain, []

    def watched(*arguments):
        outs.append([units is not None for units in arguments[-1]])
        read(*arguments)

    monkeypatch.setattr(kernels.reading, "read_chain", watched)
    network = Blocks(inplace=False).double().eval().to(DEVICE)
    recorded(True, network, [table(3, 1, 11, 11).to(DEVICE)] * (2 - found), found=found)
    several = [each for each in outs if sum(each) > 1]
    assert several == [[True, False, True], [True, True, True], [True, True, False], [True, True, False]]


def test_the_first_batch_is_read_in_chains_too(recorded, monkeypatch):
    """What is found out on a few images comes before."""
    network = Blocks(inplace=True).double().eval().to(DEVICE)
    batches = [table(3, 1, 11, 11, seed=number).to(DEVICE) for number in range(3)]
    expected = recorded(True, network, batches, found=True)
    monkeypatch.setattr(reader, "kernels_for", lambda device: kernels)
    with torch.no_grad(), ActivationRecorder(network) as recorder:
        replayed = Replay(recorder, CheckedRecorder(recorder))
        assert all(torch.equal(replayed(batch), rows) for batch, rows in zip(batches, expected, strict=True))


@pytest.mark.parametrize("changed", ["weight", "running_var", "place", "norm"])
def test_chains_that_change_are_read_link_by_link(recorded, changed):
    """Between the convolution and its batch norm, or to another one."""
    network = Blocks(inplace=True).double().eval().to(DEVICE)
    batches = [table(3, 1, 11, 11, seed=number).to(DEVICE) for number in range(3)]
    calls = []

    def change(values):
        calls.append(values)
        if changed in ("weight", "running_var"):
            getattr(network.norm1, changed).mul_(len(calls))
        elif changed == "place":
            values.add_(len(calls) % 3)
        else:
            network.norm1.eps = 0.5 + len(calls) % 3

    def run(together):
        network.load_state_dict(state)
        calls.clear()
        return recorded(together, network, batches)

    state = {name: values.clone() for name, values in network.state_dict().items()}
    network.between = change
    for part, other in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-13)


def test_two_layers_of_one_name_are_told_where_layers_are_read_together(monkeypatch):
    monkeypatch.setattr(reader, "kernels_for", lambda device: kernels)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict({"c": nn.Conv2d(1, 1, 1), "r": nn.ReLU(), "c#2": nn.Conv2d(1, 1, 1)})

        def forward(self, x):
            for part in ("c", "r", "c", "r", "c#2", "r"):
                x = self.parts[part](x)
            return x

    with (
        ActivationRecorder(Twice().to(DEVICE), "mean") as recorder,
        pytest.raises(InputError, match=r"two layers are called parts\.c#2: rename the module"),
    ):
        recorder(torch.rand(2, 1, 4, 4, device=DEVICE))


def test_a_chain_rounds_as_the_network_does(recorded):
    """The mean of what is rounded lies off that of what is not, ten times more than this allows."""
    short = torch.bfloat16 if DEVICE == "cuda" else torch.float16  # to bfloat16 Triton's interpreter cuts off
    network = Blocks(inplace=False).eval().float().to(DEVICE)
    batches = [table(3, 1, 11, 11).to(DEVICE, short)] * 2
    with torch.no_grad(), torch.autocast(DEVICE, short):
        _, found = recorded(True, network, batches)
        values = network.norm1(network.conv1(network.relu(network.conv0(batches[1]))))
    assert values.dtype == short
    rectified = network.relu(values).double().mean((2, 3))
    torch.testing.assert_close(found[:, 20:25].double(), rectified, rtol=1e-5, atol=1e-6)


def test_batch_norms_of_short_numbers_are_read(recorded):
    """They round what they compute with."""
    network = Blocks(inplace=False).eval().to(DEVICE, torch.bfloat16)
    batches = [table(3, 1, 11, 11).to(DEVICE, torch.bfloat16)] * 2
    _, found = recorded(True, network, batches)
    with torch.no_grad():
        values = network.norm1(network.conv1(network.relu(network.conv0(batches[1]))))
    for start, expected in ((15, values), (20, network.relu(values))):
        exact = expected.double().mean((2, 3))
        torch.testing.assert_close(found[:, start : start + 5].double(), exact, rtol=1e-5, atol=1e-6)


def test_where_triton_does_not_work_operations_do(monkeypatch):
    """It may find no compiler, or no GPU that it knows."""

    def fail():
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    monkeypatch.setattr(kernels.reading, "try_out", fail)
    with pytest.warns(UserWarning, match=r"Triton does not work \(Failed to find C compiler. Please specify via CC\)"):
        assert triton_import.import_kernels.__wrapped__() is None
    assert triton_import.kernels_for("cpu") is None


def test_arguments_of_one_are_taken(accumulated, recorded):
    """Triton compiles numbers of 1 into a kernel."""
    values, labels = table(9, 2, sum(LAYERS)), torch.arange(9) % 2
    assert_alike(accumulated(kernels, values, labels, batch=1), accumulated(None, values, labels, batch=1))


@pytest.mark.parametrize("tiny", [1e-40, 1e-30])
def test_tiny_activations_have_finite_errors(accumulated, tiny):
    values, labels = (table(9, 2, sum(LAYERS)) * tiny).float(), torch.arange(9) % 2
    _, errors = accumulated(kernels, values, labels)
    assert all(np.isfinite(part).all() for part in errors)


def test_what_is_no_plain_tensor_is_not_read():
    plain = torch.zeros(1, 1, 2, 2)
    assert kernels.reading.can_read(plain)
    assert not kernels.reading.can_read(plain.int())
    assert not kernels.reading.can_read(nn.Parameter(plain))
    assert not kernels.reading.can_read(torch.zeros(1, 1, 2, 2, dtype=torch.complex64).conj().imag)


def test_positions_far_apart_are_read():
    """Further than 32 bits count, if only in name: nothing is that far apart here."""
    values = table(2, 3, 4, 5)
    outs = {"mean": torch.empty(2, 3, dtype=torch.float64, device=DEVICE)}
    activation = values.to(DEVICE).as_strided((2, 3, 1, 1), (60, 20, 2**31, 2**31))
    kernels.reading.reduce_positions(activation, (2, 3), torch.float64, outs)
    torch.testing.assert_close(outs["mean"].cpu(), values[:, :, 0, 0])


def test_as_many_transformations_are_taken_together_as_memory_allows(monkeypatch):
    """That of the samples of a batch, or of the classes."""
    monkeypatch.setattr(block, "kernels_for", lambda device: kernels)
    assert block.shape_of_blocks(16_000, 64, "cuda") == (2**17, 262)
    assert block.shape_of_blocks(16_000, 64, "cuda", classes=1_000) == (2**17, 16)
    assert block.shape_of_blocks(16_000_000, 64, "cuda") == (2**17, 1)
