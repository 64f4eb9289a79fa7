#!/usr/bin/env python3
"""Train, measure and draw everything that the tables of the paper need: four models on MNIST and CIFAR-10.

    python reproduce_paper.py

Trains both models of every pair, measures them under 16 rotations with the aggregations mean and max, and the same
network before its training; then draws everything, and writes the tables and the page, first of all the claims of the
paper and what the measurements say of them. Only what is missing is done, so that it can be ended and called again; a
step that fails does not stop the others.

On a GPU this takes minutes for each pair; on two CPU cores MNIST takes some hours, and CIFAR-10 wants a shorter
schedule (--schedule 0.1), which the tables tell.
"""

from pytorch.scripts.interruption import leave_when_interrupted
from pytorch.scripts.thread_waits import wait_briefly

if __name__ == "__main__":
    leave_when_interrupted()
    wait_briefly()

import argparse
import sys
import time
import traceback

import experiment_rotation
import experiment_variance
import plot_variances_models
from pytorch.datasets import DATASETS, dataset_name, load_dataset
from pytorch.errors import InputError, one_line
from pytorch.experiments.provenance import command_line
from pytorch.experiments.reproduction import DRAW, MEASURE, TRAIN, Combination, Step
from pytorch.scripts.options import (
    Parser,
    add_data_options,
    add_folders,
    add_test_samples,
    at_least,
    check_writable,
    dataset_argument,
    model_argument,
    number_that,
    parse,
)
from pytorch.scripts.script import run, told
from pytorch.variance.precision import PRECISIONS

PAPER_MODELS = ["simple_conv", "all_convolutional", "vgg16", "resnet"]
PAPER_DATASETS = ["mnist", "cifar10"]

SCRIPTS = {TRAIN: experiment_rotation, MEASURE: experiment_variance, DRAW: plot_variances_models}


def main(arguments: list[str] | None = None) -> int:
    """Do what is missing; return 1 if a step failed."""
    parser = _parser()
    options = parse(parser, arguments)
    names = [dataset_name(dataset) for dataset in options.datasets]
    if len(set(names)) < len(names) or len(set(options.models)) < len(options.models):
        parser.error(f"name each model and each data set once: {', '.join([*options.models, *names])}")
    for folder in (options.results_dir, options.plots_dir):
        check_writable(folder)
    begun = time.perf_counter()
    steps = _steps(options)
    done = {step.title: step.is_done() for step in steps}
    for title, is_done in done.items():
        print(f"{'done' if is_done else 'to do':<7}{title}")
    failed, left_out = [], []
    for number, step in enumerate(steps, 1):
        title = f"step {number} of {len(steps)}: {step.title}"
        if done[step.title]:
            continue
        if step.needs in failed:
            print(f"\n== {title}: left out, as its models were not trained as asked")
            left_out.append(step.title)
        elif not _succeeds(step, title):
            failed.append(step.title)
    before = sum(done.values())
    counts = {
        "were done before": before,
        "done now": len(steps) - before - len(failed) - len(left_out),
        "failed": len(failed),
        "left out": len(left_out),
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "failed")
    print(f"{len(steps)} steps: {told}; {time.perf_counter() - begun:.0f} s")
    return int(bool(failed))


def _succeeds(step: Step, title: str) -> bool:
    """Run a step; tell an error of it and go on."""
    print(f"\n== {title}\n{command_line(f'{step.script}.py', step.arguments)}", flush=True)
    try:
        return not SCRIPTS[step.script].main(step.arguments)
    except BrokenPipeError:
        raise
    except (Exception, SystemExit) as error:
        try:
            line = told(error)
        except (Exception, SystemExit) as unknown:
            traceback.print_exception(unknown)
            line = "an error of the program, whose story stands above"
        print(f"error: {step.title}: {one_line(line)}", file=sys.stderr)
        if "--overwrite" in line:
            print("nothing is replaced unasked: the command above with --overwrite does it", file=sys.stderr)
        return False


def _steps(options: argparse.Namespace) -> list[Step]:
    """All steps, those of one data set together, and the drawing, which is never done before."""
    places = _places(options)
    steps = [
        step
        for dataset in options.datasets
        for fingerprint in [_fingerprint(dataset)]
        for model in options.models
        for step in Combination(
            model, dataset, options.results_dir, fingerprint, options.seeds, options.schedule, options.samples,
            options.test_samples, options.precision, places,
        ).steps()
    ]  # fmt: skip
    return [*steps, Step(DRAW, f"draw into {options.plots_dir}", [*places, "--sort"], lambda: False)]


def _places(options: argparse.Namespace) -> list[str]:
    """Folders and device, where they are others than the scripts take by themselves: commands end up in tables."""
    parser = Parser()
    add_folders(parser)
    add_data_options(parser)
    usual = parse(parser, ["--results-dir", str(options.results_dir)])
    usual.results_dir = parse(parser, []).results_dir
    changed = [name for name in vars(usual) if getattr(options, name) != getattr(usual, name)]
    return [part for name in changed for part in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]


def _fingerprint(dataset: str) -> str:
    """Tell a folder by its content; empty for a known data set, and for a folder that cannot be read."""
    try:
        return "" if dataset_name(dataset) in DATASETS else load_dataset(dataset, data_dir=None).source.fingerprint
    except InputError:  # which its training tells
        return ""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", type=model_argument, default=PAPER_MODELS, help="(default: the four)")
    parser.add_argument(
        "--datasets", nargs="+", type=dataset_argument, default=PAPER_DATASETS, help="names or folders (default: both)"
    )
    parser.add_argument("--seeds", type=at_least(1, 1000), default=1, help="trainings of each pair (default: 1)")
    parser.add_argument(
        "--schedule", type=number_that(lambda number: 0 < number <= 1, "above 0 and at most 1"), default=1.0,
        help="what part of the epochs of each recipe to train for (default: 1)",
    )  # fmt: skip
    parser.add_argument("--samples", type=at_least(1), help="at most so many of each split (default: all)")
    add_test_samples(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the measurement (default: fp32)")
    add_folders(parser)
    add_data_options(parser)
    return parser


if __name__ == "__main__":
    run(main)
