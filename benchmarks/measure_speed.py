#!/usr/bin/env python3
"""How much longer does the measure take than the bare forward passes it needs?

    make bench
    PYTHONPATH=. python benchmarks/measure_speed.py --models simple_conv resnet --batch-sizes 64

The floor is N·T forward passes of the same network under ``torch.inference_mode``. Its batches have the same size, and
are already transformed, normalised and in channels-last format. The measure includes everything: transforming,
normalising, recording, the statistics of all groups, and the error bars. Both run in turn, round by round; a cell is
the median of the ratios of the rounds, with the lowest and the highest.
"""

import argparse
import statistics

import torch
from tqdm import tqdm
from workload import DEFAULT_MODELS, Workload, ratio, rounds, table_head

from pytorch.models import MODELS
from pytorch.names import PRECISIONS
from pytorch.scripts.allocation import keep_freed_memory


def main(arguments: list[str] | None = None) -> None:
    """Time each model and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=DEFAULT_MODELS)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after one warm-up round")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="number format of the networks, in the floor too"
    )
    parser.add_argument("--bf16", action="store_true", help="measure in bf16 too, against a bf16 floor")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, {options.steps} rotations, "
          f"{options.precision}, {options.samples} samples, {options.rounds} rounds")  # fmt: skip
    columns = ["model", "batch", "floor, s", "measure / floor", "with mean,max"]
    if options.bf16:
        columns += ["bf16: measure / floor", "fp32 / bf16, measure"]
    print(table_head(columns))
    cases = [(name, size) for name in options.models for size in options.batch_sizes]
    for name, size in tqdm(cases, leave=False, disable=None):
        print(f"| {' | '.join(row(name, size, options))} |", flush=True)


def row(name: str, batch_size: int, options: argparse.Namespace) -> list[str]:
    """Time one model at one batch size."""
    work = Workload.build(name, options.samples, batch_size, options.steps, options.device)
    inputs = work.inputs()
    works = {
        "floor": lambda: work.floor(inputs, options.precision),
        "mean": lambda: work.measure(precision=options.precision),
        "both": lambda: work.measure(precision=options.precision, aggregation="mean,max"),
    }
    if options.bf16:
        works["floor bf16"] = lambda: work.floor(inputs, "bf16")
        works["mean bf16"] = lambda: work.measure(precision="bf16")
    seconds = rounds(works, options.rounds, options.device)
    cells = [name, str(batch_size), f"{statistics.median(seconds['floor']):.2f}"]
    cells += [ratio(seconds, "mean", "floor"), ratio(seconds, "both", "floor")]
    if options.bf16:
        cells += [ratio(seconds, "mean bf16", "floor bf16"), ratio(seconds, "mean", "mean bf16")]
    return cells


if __name__ == "__main__":
    main()
