"""The workload of the benchmarks: networks, images, rotations, and bare forward passes."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytorch.datasets import load_dataset
from pytorch.datasets.normalization import Normalization
from pytorch.models import MODELS, build_model
from pytorch.torchvision_import import import_torchvision
from pytorch.transformations import rotations
from pytorch.variance import measure_variance
from pytorch.variance.precision import autocast
from pytorch.variance.result import VarianceResult

CLASSES = 10
DEFAULT_MODELS = ["simple_conv", "all_convolutional", "vgg16", "resnet"]


@dataclass(frozen=True)
class Workload:
    """A network with fresh weights, and samples to measure it on.

    Attributes:
        model: In evaluation mode and ``channels_last``.
        images: Digits, repeated as needed, (N, 1, 32, 32); for a network of torchvision, random colours. uint8, or
            float64 for a float64 network.
        labels: (N,).
        normalization: Constants of the images.
        transformations: Rotations.
        batch_size: Samples per forward pass.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    normalization: Normalization
    transformations: Sequence[Callable[[Tensor], Tensor]]
    batch_size: int

    @classmethod
    def build(
        cls,
        name: str,
        samples: int,
        batch_size: int,
        steps: int = 16,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        size: int | None = None,
    ) -> "Workload":
        """Build the workload of a network of the project or, with a ``size`` of images or another name, of torchvision.

        Equal arguments give equal workloads.
        """
        torch.manual_seed(0)
        if name in MODELS and size is None:
            dataset = load_dataset("digits", data_dir=None)
            chosen = torch.arange(samples) % len(dataset.train)
            images, labels = dataset.train.images[chosen], dataset.train.labels[chosen]
            model, normalization = build_model(name, 1, CLASSES), dataset.normalization
        else:
            model = getattr(import_torchvision().models, name)()
            images = torch.randint(0, 256, (samples, 3, size or 224, size or 224), dtype=torch.uint8)
            labels, normalization = torch.arange(samples) % CLASSES, Normalization.of(images)
        model = model.eval().to(device, dtype, memory_format=torch.channels_last)
        images = images.to(device, torch.float64 if dtype == torch.float64 else torch.uint8)
        return cls(model, images, labels, normalization, rotations(steps), batch_size)

    def inputs(self, batches: int | None = None) -> list[Tensor]:
        """Every batch, or the first few, under every transformation, ready for the network."""
        return [
            self.normalization(transformation(batch)).contiguous(memory_format=torch.channels_last)
            for batch in self.images.split(self.batch_size)[:batches]
            for transformation in self.transformations
        ]

    def floor(self, inputs: list[Tensor], precision: str) -> None:
        """Run the bare forward passes."""
        with torch.inference_mode(), autocast(precision, self.images.device):
            for batch in inputs:
                self.model(batch)

    def measure(self, **options: object) -> VarianceResult | dict[str, VarianceResult]:
        """Run the whole measurement."""
        return measure_variance(
            self.model, self.images, self.labels, self.transformations, self.normalization,
            batch_size=self.batch_size, **options,
        )  # fmt: skip


def rounds(
    works: dict[str, Callable[[], object]],
    count: int,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Run the works in turn, once to warm up and then ``count`` times; return the seconds of each, by round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(count + 1):
        for name, work in works.items():
            start = clock()
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], work: str, to: str) -> str:
    """Median of the ratios of two works, round by round, with the lowest and the highest."""
    ratios = [one / other for one, other in zip(seconds[work], seconds[to], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table_head(columns: list[str]) -> str:
    """The first two lines of a Markdown table."""
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def peak_mib() -> float:
    """Peak of the resident memory of this process, in MiB."""
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
