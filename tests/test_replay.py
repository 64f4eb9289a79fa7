"""Networks that are replayed on CUDA give what they give when they are called; those that cannot be are called."""

import pytest
import torch
from torch import nn

from pytorch.models import build_model
from pytorch.transformations import rotations
from pytorch.variance import measure_variance
from pytorch.variance.fast.replay import Replay
from pytorch.variance.fast.triton_import import kernels_for
from pytorch.variance.recording.recorder import ActivationRecorder

CALLS = 4 if kernels_for("cuda" if torch.cuda.is_available() else "cpu") else 3
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Counted(nn.Module):
    """A network that tells how often it was called, and does something besides."""

    def __init__(self, besides=lambda network, values: values):
        super().__init__()
        self.conv, self.relu, self.calls, self.besides = nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), 0, besides

    def forward(self, images):
        self.calls += 1
        return self.relu(self.besides(self, self.conv(images)))


def replay_of(network, device, calls=6, batch=5):
    """Rows of several batches, once by replaying and once by calling, and how many calls the first took."""
    torch.manual_seed(0)
    network = network.to(device).eval()
    batches = [torch.rand(batch, 1, 6, 6, device=device) for _ in range(calls)]
    with ActivationRecorder(network, "mean,max") as recorder:
        replay = Replay(recorder, lambda batch: recorder(recorder.own_copy(batch)))
        replayed = [replay(images).clone() for images in batches]
        needed = network.calls
        called = [recorder(images.clone()).clone() for images in batches]
    return replayed, called, needed


def test_on_a_cpu_it_calls():
    replayed, called, calls = replay_of(Counted(), "cpu")
    assert all(map(torch.equal, replayed, called))
    assert calls == 6


@needs_cuda
def test_on_cuda_it_calls_two_batches():
    """The first twice, with kernels, and once more to capture it."""
    replayed, called, calls = replay_of(Counted(), "cuda")
    assert all(map(torch.equal, replayed, called))
    assert not torch.equal(replayed[-1], replayed[-2])
    assert calls == CALLS


def waits(network, values):
    return values + 1 if values.sum().item() > 0 else values - 1


def waits_unnoticed(network, values):
    torch.cuda.synchronize()
    return values


def counts(network, values):
    return values + network.calls


def fails_when_captured(network, values):
    if torch.cuda.is_current_stream_capturing():
        raise ValueError
    return values


@needs_cuda
@pytest.mark.parametrize("besides", [waits, waits_unnoticed, fails_when_captured])
def test_what_cannot_be_captured_is_called(besides):
    replayed, called, calls = replay_of(Counted(besides), "cuda")
    assert all(map(torch.equal, replayed, called))
    assert calls >= 6
    assert replay_of(Counted(), "cuda")[2] == CALLS  # others can


@needs_cuda
@pytest.mark.parametrize("besides", [counts, lambda network, values: values + torch.rand_like(values)])
def test_what_is_not_the_same_every_time_is_called(besides):
    replayed, _, calls = replay_of(Counted(besides), "cuda")
    assert calls == 6 + CALLS - 2
    assert not torch.equal(replayed[-1], replayed[-2])


@needs_cuda
def test_what_changes_between_batches_is_called():
    network = Counted(lambda network, values: values * network.factor).cuda().eval()
    images = torch.rand(5, 1, 6, 6, device="cuda")
    with ActivationRecorder(network) as recorder:
        replay = Replay(recorder, lambda batch: recorder(recorder.own_copy(batch)))
        for factor in (1, 2, 3, 4, 5):
            network.factor = factor
            assert torch.equal(replay(images).clone(), recorder(images.clone()))


@needs_cuda
def test_batches_of_two_shapes_are_replayed():
    network = Counted().cuda().eval()
    sizes = [5, 5, 5, 5, 4, 4, 4, 4, 5, 4, 3, 3, 3, 3, 5]
    with ActivationRecorder(network) as recorder:
        replay = Replay(recorder, lambda batch: recorder(recorder.own_copy(batch)))
        for size in sizes:
            images = torch.rand(size, 1, 6, 6, device="cuda")
            found = replay(images).clone()
            before = network.calls
            assert torch.equal(found, recorder(images.clone()))
            network.calls = before
    assert network.calls == CALLS + 3 + len(sizes[8:])


class Masked(nn.Module):
    """Keeps a mask for the size of the batch, and makes it anew for another."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.mask = nn.Linear(6, 4), nn.LayerNorm(4), torch.zeros(0)

    def forward(self, images):
        values = self.linear(images[:, 0])
        if len(self.mask) != len(values):
            self.mask = torch.linspace(0, 1, values.numel(), device=values.device).view(values.shape)
        return self.norm(values * self.mask)


@needs_cuda
def test_what_a_network_keeps_of_one_size_is_not_replayed_after_another():
    """The check that the first axis is the batch calls it with one sample more."""
    torch.manual_seed(0)
    network, images = Masked().cuda(), torch.rand(45, 1, 6, 6)
    replayed, called = (
        measure_variance(network, images, None, rotations(5), batch_size=10, replay=replay).layer_means("all")
        for replay in (True, False)
    )
    assert replayed == called


@needs_cuda
@pytest.mark.parametrize("name", ["simple_conv", "resnet"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_measurement_is_the_same_without_it(name, precision):
    torch.manual_seed(0)
    network = build_model(name, 1, 10).cuda().to(memory_format=torch.channels_last)
    images, labels = torch.rand(40, 1, 32, 32), torch.arange(40) % 10
    options = {"batch_size": 16, "precision": precision, "aggregation": "mean,max"}
    replayed = measure_variance(network, images, labels, rotations(5), **options)
    called = measure_variance(network, images, labels, rotations(5), replay=False, **options)
    for how, result in replayed.items():
        assert result.layer_means("stratified") == called[how].layer_means("stratified")
        assert result.layer_means("all") == called[how].layer_means("all")
