#!/usr/bin/env python3
"""How much longer does the measure of any network take than its bare forward passes, and in which of its parts?

    make bench-zoo
    PYTHONPATH=. python benchmarks/measure_zoo.py --networks mobilenet_v3_small@32 vgg16 --aggregations mean none

A name of the project is its network, on digits of 32 x 32. Another name, or one with a size after ``@``, is that of
torchvision, on random images of 224 x 224 or of that size. Weights are fresh. The floor is that of
``measure_speed.py``. It and the measure run in turn; a ratio is the median over rounds, with the lowest and the
highest. Parts are medians, in % of the floor:

- transforming: the transformations, the normalisation, and the copy in the memory format of the network;
- reading: what the network takes longer with its hooks;
- statistics: the sums over samples and transformations, and the error bars;
- beginning: the checks on the first batch, and the passes that find the layers;
- result: what follows the last batch.

Each row comes from a process of its own, so that its memory is its own peak. With ``--cpu-time``, times are those of
the processor over all threads: other programs on the machine disturb them less.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

import torch
from tqdm import tqdm
from workload import Workload, peak_mib, ratio, rounds, table_head

from pytorch.names import AGGREGATIONS
from pytorch.scripts.allocation import keep_freed_memory
from pytorch.variance import measure, single_pass
from pytorch.variance.first_batch import CheckedRecorder
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.transforming import TransformationCheck

NETWORKS = [
    "mobilenet_v3_small@32", "mobilenet_v3_small", "efficientnet_b0", "resnet50@224", "densenet121", "convnext_tiny",
    "swin_t", "vit_b_16",
]  # fmt: skip
PARTS = {
    "transforming": [(single_pass, "transformed"), (ActivationRecorder, "own_copy")],
    "reading": [(ActivationRecorder, "__call__")],
    "statistics": [(VarianceAccumulator, name) for name in ("__init__", "begin", "add", "end")],
    "beginning": [(CheckedRecorder, "_first"), (TransformationCheck, "see")],
    "result": [(measure, "whole_result")],
}
"""Functions and methods of each part, with the module or class that they are looked up in."""


def main(arguments: list[str] | None = None) -> None:
    """Time each network with each aggregation and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="name, or name@size")
    parser.add_argument("--aggregations", nargs="+", default=["mean", "mean,max"], help=f"of {', '.join(AGGREGATIONS)}")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, after one warm-up round")
    parser.add_argument("--unlabelled", action="store_true", help="measure without classes")
    parser.add_argument("--cpu-time", action="store_true", help="time of the processor instead of the clock")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        print(" | ".join(row(options)))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.steps} rotations, {options.samples} "
          f"samples in batches of {options.batch_size}, {options.rounds} rounds; parts in % of the floor")  # fmt: skip
    print(table_head(["network", "aggregation", "units", "floor, s", "measure / floor", *PARTS, "peak, MiB"]))
    given = sys.argv[1:] if arguments is None else arguments
    cases = [(network, how) for network in options.networks for how in options.aggregations]
    for network, how in tqdm(cases, leave=False, disable=None):
        command = [sys.executable, __file__, *given, "--alone", "--networks", network, "--aggregations", how]
        cells = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(f"| {network} | {how} | {cells} |", flush=True)


def row(options: argparse.Namespace) -> list[str]:
    """Time one network with one aggregation."""
    keep_freed_memory()
    clock = time.process_time if options.cpu_time else time.perf_counter
    name, _, size = options.networks[0].partition("@")
    work = Workload.build(name, options.samples, options.batch_size, options.steps, size=int(size) if size else None)
    # One batch under every transformation serves for all: time does not depend on values.
    inputs = work.inputs(batches=1) * -(-options.samples // options.batch_size)
    work = replace(work, labels=None) if options.unlabelled else work
    measured: list[tuple[Counter[str], int]] = []

    def whole() -> None:
        seconds: Counter[str] = Counter()
        with timed(seconds, clock):
            results = work.measure(aggregation=options.aggregations[0].split(","))
        units = sum(values.size for result in results.values() for values in result.sample_variance().values())
        measured.append((seconds, units))

    seconds = rounds({"floor": lambda: work.floor(inputs, "fp32"), "measure": whole}, options.rounds, clock=clock)
    shares = [
        [100 * beyond(part, parts[part], floor, len(inputs)) / floor for part in PARTS]
        for (parts, _), floor in zip(measured[1:], seconds["floor"], strict=True)
    ]
    return [
        str(measured[0][1]), f"{statistics.median(seconds['floor']):.2f}", ratio(seconds, "measure", "floor"),
        *(f"{statistics.median(part):.1f}" for part in zip(*shares, strict=True)), f"{peak_mib():.0f}",
    ]  # fmt: skip


def beyond(part: str, seconds: float, floor: float, passes: int) -> float:
    """Seconds of a part without the forward passes in it: one in the beginning, all others in the reading."""
    return seconds - floor * {"beginning": 1, "reading": passes - 1}.get(part, 0) / passes


@contextmanager
def timed(seconds: Counter[str], clock: Callable[[], float]) -> Iterator[None]:
    """A context in which the parts of the measure add up their time; what is called in the beginning belongs to it."""
    running: list[str] = []
    since = clock()

    def switch() -> None:
        nonlocal since
        now = clock()
        if running:
            seconds[running[-1]] += now - since
        since = now

    def counted(part: str, function: Callable) -> Callable:
        def call(*arguments: object, **named: object) -> object:
            if "beginning" in running:
                return function(*arguments, **named)
            switch()
            running.append(part)
            try:
                return function(*arguments, **named)
            finally:
                switch()
                running.pop()

        return call

    with ExitStack() as stack:
        for part, functions in PARTS.items():
            for owner, name in functions:
                stack.enter_context(patch.object(owner, name, counted(part, getattr(owner, name))))
        yield


if __name__ == "__main__":
    main()
