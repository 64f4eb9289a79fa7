#!/usr/bin/env python3
"""How much longer does the measure take than the bare forward passes it needs?

    make bench
    PYTHONPATH=. python benchmarks/measure_speed.py --models simple_conv resnet --batch-size 64

The floor is N·T forward passes of the same network under ``torch.inference_mode``, over batches of the same size that
are already transformed and normalised, channels last. The measure is everything: transforming, normalising,
recording, and the statistics of all groups. Both run in turn; a row gives the median, lowest and highest of the
ratios of the pairs.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from tqdm import tqdm

from pytorch.datasets import Normalization
from pytorch.models import MODELS, build_model
from pytorch.transformations import rotations
from pytorch.variance import measure_variance

SIZE, CLASSES = 32, 10


def main(arguments: list[str] | None = None) -> None:
    """Time each model and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["simple_conv", "all_convolutional", "resnet"])
    parser.add_argument("--aggregation", default="mean")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--runs", type=int, default=5, help="pairs that count, after one that does not")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads")
    print(
        f"{options.samples} samples x {options.steps} rotations, batches of {options.batch_size}, {options.runs} pairs"
    )
    print(f"{'model':<20}{'floor, s':>10}{'measure, s':>12}{'ratio':>8}{'lowest':>8}{'highest':>9}")
    for name in options.models:
        floors, measures = zip(*_pairs(name, options), strict=True)
        ratios = [measure / floor for floor, measure in zip(floors, measures, strict=True)]
        print(f"{name:<20}{statistics.median(floors):10.2f}{statistics.median(measures):12.2f}"
              f"{statistics.median(ratios):8.3f}{min(ratios):8.3f}{max(ratios):9.3f}")  # fmt: skip


def _pairs(name: str, options: argparse.Namespace) -> list[tuple[float, float]]:
    """Seconds of the floor and of the measure, run in turn."""
    torch.manual_seed(0)
    model = build_model(name, 3, CLASSES).eval().to(options.device, memory_format=torch.channels_last)
    images = torch.randint(0, 256, (options.samples, 3, SIZE, SIZE), dtype=torch.uint8, device=options.device)
    labels = torch.arange(options.samples) % CLASSES
    transformations, normalize = rotations(options.steps), Normalization((0.5,) * 3, (0.25,) * 3)
    inputs = [
        normalize(transformation(batch)).contiguous(memory_format=torch.channels_last)
        for batch in images.split(options.batch_size)
        for transformation in transformations
    ]

    def measure() -> None:
        measure_variance(model, images, labels, transformations, normalize, options.aggregation, options.batch_size)

    timings = [
        (_seconds(lambda: _floor(model, inputs), options.device), _seconds(measure, options.device))
        for _ in tqdm(range(options.runs + 1), desc=name, leave=False, disable=None)
    ]
    return timings[1:]


def _floor(model: nn.Module, inputs: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        for batch in inputs:
            model(batch)


def _seconds(work: Callable[[], None], device: str) -> float:
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
