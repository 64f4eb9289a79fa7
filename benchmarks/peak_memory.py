#!/usr/bin/env python3
"""How does the peak memory of the measure depend on the number of samples?

    PYTHONPATH=. python benchmarks/peak_memory.py --models simple_conv --samples 1000 10000

Each case runs in a separate process and generates its images batch by batch, so the figures exclude them. The figures
are resident memory as the system reports it. It does not grow with the number of samples.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator

import torch
from torch import Tensor
from workload import CLASSES, peak_mib, table_head

from pytorch.errors import InputError
from pytorch.models import MODELS, build_model
from pytorch.transformations import rotations
from pytorch.variance import measure_variance


def main(arguments: list[str] | None = None) -> None:
    """Measure each model with each number of samples and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["simple_conv"])
    parser.add_argument("--samples", nargs="+", type=int, default=[1000, 10000])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--aggregation", default="mean")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        alone(options)
        return
    print(f"aggregation {options.aggregation}, {options.steps} rotations, batches of {options.batch_size}")
    print(table_head(["model", *(f"{samples:,} samples, MiB" for samples in options.samples)]))
    for model in options.models:
        peaks = [peak(model, samples, options) for samples in options.samples]
        print(f"| {model} | {' | '.join(peaks)} |", flush=True)


def peak(model: str, samples: int, options: argparse.Namespace) -> str:
    """Run one measurement in a separate process and return its output."""
    command = [
        sys.executable, __file__, "--alone", "--models", model, "--samples", str(samples),
        "--steps", str(options.steps), "--batch-size", str(options.batch_size), "--aggregation", options.aggregation,
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def alone(options: argparse.Namespace) -> None:
    """Measure and print the peak of this process in MiB."""
    torch.manual_seed(0)
    model = build_model(options.models[0], 1, CLASSES).to(memory_format=torch.channels_last)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, options.samples[0], options.batch_size):
            size = min(options.batch_size, options.samples[0] - start)
            yield (
                torch.randint(0, 256, (size, 1, 32, 32), dtype=torch.uint8),
                torch.arange(start, start + size) % CLASSES,
            )

    try:
        measure_variance(
            model, batches(), None, rotations(options.steps), lambda images: images / 255, options.aggregation,
            classes=[str(label) for label in range(CLASSES)],
        )  # fmt: skip
    except InputError as error:
        print(f"refused: {error}")
        return
    print(f"{peak_mib():.0f}")


if __name__ == "__main__":
    main()
