"""The kernels of CUDA, interpreted where there is none: what they make is what operations of PyTorch make."""

import pytest
import torch
from builders import table
from torch import nn
from working_kernels import DEVICE, kernels

from pytorch.errors import InputError
from pytorch.variance.fast import reader, triton_import
from pytorch.variance.fast.replay import Replay
from pytorch.variance.first_batch import CheckedRecorder
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.statistics import block

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
