#!/usr/bin/env python3
"""How much time beyond the bare forward passes goes into transforming, recording and statistics?

    PYTHONPATH=. python benchmarks/measure_parts.py --models vgg16 --batch-size 64

Each part runs alone, over all batches and transformations, in turn with the floor (see ``measure_speed.py``) and the
whole measure. A cell is the median over rounds of its time as a percentage of the floor's. The parts add up to less
than the whole: alone, the statistics find their numbers in the cache; between forward passes they do not.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm
from workload import CLASSES, Workload, rounds, table_head

from pytorch.models import MODELS
from pytorch.scripts.allocation import keep_freed_memory
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.statistics.accumulator import VarianceAccumulator


def main(arguments: list[str] | None = None) -> None:
    """Time the parts of each model and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["simple_conv", "vgg16"])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after one warm-up round")
    parser.add_argument("--aggregation", default="mean")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.steps} rotations, "
          f"{options.batches} batches of {options.batch_size}, {options.aggregation}, {options.rounds} rounds; "
          "in % of the floor")  # fmt: skip
    print(table_head(["model", "units", "transforming", "recording", "statistics", "all beyond the floor"]))
    for name in tqdm(options.models, leave=False, disable=None):
        print(f"| {' | '.join(row(name, options))} |", flush=True)


def row(name: str, options: argparse.Namespace) -> list[str]:
    """Time the parts of one model."""
    work = Workload.build(name, options.batches * options.batch_size, options.batch_size, options.steps)
    inputs = work.inputs()
    with torch.no_grad(), ActivationRecorder(work.model, options.aggregation) as recorder:
        rows = [recorder(batch).clone() for batch in inputs]
    layers = [layer.units for layer in recorder.layers]
    seconds = rounds(
        {
            "floor": lambda: work.floor(inputs, "fp32"),
            "transforming": work.inputs,
            "recording": lambda: record(work, inputs, options.aggregation),
            "statistics": lambda: accumulate(work, rows, layers, list(recorder.columns().values())),
            "measure": lambda: work.measure(aggregation=options.aggregation),
        },
        options.rounds,
    )

    def share(what: str, beyond: Callable[[float, float], float]) -> str:
        parts = (beyond(*both) / both[1] for both in zip(seconds[what], seconds["floor"], strict=True))
        return f"{100 * statistics.median(parts):.1f}"

    return [
        name, str(sum(layers)), share("transforming", lambda part, floor: part),
        share("recording", lambda part, floor: part - floor), share("statistics", lambda part, floor: part),
        share("measure", lambda part, floor: part - floor),
    ]  # fmt: skip


def record(work: Workload, inputs: list[Tensor], aggregation: str) -> None:
    """Run the network and record its layers."""
    with torch.no_grad(), ActivationRecorder(work.model, aggregation) as recorder:
        for batch in inputs:
            recorder(batch)


def accumulate(work: Workload, rows: list[Tensor], layers: list[int], wholes: list[list[int]]) -> None:
    """Accumulate recorded activations."""
    steps = len(work.transformations)
    accumulator = VarianceAccumulator(steps, layers, labels=range(CLASSES), wholes=wholes)
    for number, labels in enumerate(work.labels.split(work.batch_size)):
        accumulator.begin(labels)
        for activations in rows[number * steps : (number + 1) * steps]:
            accumulator.add(activations)
        accumulator.end()


if __name__ == "__main__":
    main()
