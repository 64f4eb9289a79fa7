"""Small networks, images, files and measurements."""

import gzip
import hashlib
import signal
import struct
import sys
from pathlib import Path

import builders
import numpy as np
import pytest
import torch
from commands import DRAW, NOWHERE, SMALL, run
from PIL import Image
from torch import nn

import experiment_rotation
import experiment_variance
import plot_variances_models
from pytorch.scripts.script import run as run_script
from pytorch.torchvision_import import import_torchvision

collect_ignore = ["fuzz_readers.py"]  # needs a fuzzer

SCRIPTS = {"train": experiment_rotation, "measure": experiment_variance, "draw": plot_variances_models}


class Reusing(nn.Module):
    """Uses one in-place ReLU three times, adds functionally, and returns a tuple from a submodule."""

    class Halves(nn.Module):
        def forward(self, inputs):
            return tuple(inputs.chunk(2, dim=1))

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.halves = self.Halves()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(3, 4)

    def forward(self, inputs):
        first = self.relu(self.norm(self.conv1(inputs)))
        second = self.relu(self.conv2(first) + first)
        left, right = self.halves(second)
        return self.relu(self.linear(self.pool(left * right).flatten(1)))


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
    ]
)
def device(request):
    return torch.device(request.param)


@pytest.fixture
def reusing_model():
    torch.manual_seed(3)
    model = Reusing()
    model.norm.running_mean.uniform_(-1, 1)
    model.norm.running_var.uniform_(0.5, 2)
    return model.double().eval()


@pytest.fixture
def images():
    """23 asymmetric images, a prime number, so that no batch size divides it."""
    return torch.rand(23, 2, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    """Classes of 5, 7 and 11 samples, mixed."""
    return torch.tensor([0] * 5 + [1] * 7 + [2] * 11)[torch.randperm(23, generator=torch.Generator().manual_seed(2))]


@pytest.fixture
def image_folder(tmp_path):
    """A folder data set: two classes, the test images much brighter than the training images."""
    random = np.random.default_rng(0)
    for split, count, low, high in (("train", 6, 0, 100), ("test", 4, 150, 256)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(low, high, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "pets"


@pytest.fixture
def png(tmp_path):
    """The name of an image much wider than high."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 2200, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "figure.png")
    return "figure"


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """Archives in MNIST's own format, with the checksums of these instead of the real ones."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random, resources = np.random.default_rng(0), []
    for prefix, count in (("train", 30), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, header, array in (
            (f"{prefix}-images-idx3-ubyte.gz", struct.pack(">IIII", 2051, count, 28, 28), images),
            (f"{prefix}-labels-idx1-ubyte.gz", struct.pack(">II", 2049, count), labels),
        ):
            content = gzip.compress(header + array.tobytes())
            (raw / name).write_bytes(content)
            resources.append((name, hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(import_torchvision().datasets.MNIST, "resources", resources)
    return tmp_path


@pytest.fixture
def pair():
    return builders.complete_pair()


@pytest.fixture
def trained():
    return builders.trained_model()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home in which the three scripts were run on the digits, with their default folders; leave it as it is."""
    home = tmp_path_factory.mktemp("home")
    for script, *arguments in (
        ("experiment_rotation.py", "Simple-Conv", "Digits", *SMALL),
        ("experiment_variance.py", "simpleconv", "digits", "--samples", "30", "--steps", "4"),
        DRAW,
    ):
        process = run(home, script, *arguments)
        assert process.returncode == 0, process.stderr
        (home / f"{script}.out").write_text(process.stdout)
    return home


@pytest.fixture
def replaced(monkeypatch, moment):
    """New files that took their place before the renaming of a further one was interrupted; ``moment``: how many."""
    replaced, original = [], Path.replace

    def killed(path, target):
        if path.suffix == ".new":
            if len(replaced) == moment:
                raise KeyboardInterrupt
            replaced.append(path)
        return original(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    return replaced


@pytest.fixture
def script(tmp_path, monkeypatch, capsys):
    """Call a script as its file does, in a folder of its own; give its exit code, its errors and its output."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setattr("pytorch.scripts.script.keep_freed_memory", lambda: True)  # lasts as long as the process
    before = signal.getsignal(signal.SIGINT)

    def call(name, *arguments, home=tmp_path):
        capsys.readouterr()
        monkeypatch.chdir(home)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setattr(sys, "argv", [f"{name}.py"])
        with pytest.raises(SystemExit) as info:
            run_script(lambda: SCRIPTS[name].main([*map(str, arguments)]))
        told = capsys.readouterr()
        return info.value.code or 0, told.err, told.out

    yield call
    signal.signal(signal.SIGINT, before)
