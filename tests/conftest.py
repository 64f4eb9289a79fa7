"""Small networks, small images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

collect_ignore = ["fuzz_readers.py"]  # needs a fuzzer


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
