#!/usr/bin/env python3
"""Train, measure and draw everything that the tables of the paper need: four models on MNIST and CIFAR-10.

    python reproduce_paper.py

Trains both models of every pair, and measures them under 16 rotations with the aggregations mean and max. Measures the
same networks before training too. Then draws everything and writes the tables and the page, which begin with the claims
of the paper and what the measurements say about them. Only missing steps are run, so the script can be stopped and
started again. A failed step does not stop the others.

On a GPU this takes minutes per pair. On two CPU cores MNIST takes several hours, and CIFAR-10 needs a shorter schedule
(--schedule 0.1), which the tables state.
"""

import argparse
import sys
import time
import traceback

from pytorch.datasets import DATASETS, dataset_name, load_dataset
from pytorch.errors import InputError, one_line
from pytorch.experiments.provenance import command_line
from pytorch.names import PRECISIONS
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
from pytorch.scripts.script import error_line, run, start

PAPER_MODELS = ["simple_conv", "all_convolutional", "vgg16", "resnet"]
PAPER_DATASETS = ["mnist", "cifar10"]


def _parser() -> Parser:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", type=model_argument, default=PAPER_MODELS, help="(default: all four of the paper)"
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        type=dataset_argument,
        default=PAPER_DATASETS,
        help="names or folders (default: mnist cifar10)",
    )
    parser.add_argument("--seeds", type=at_least(1, 1000), default=1, help="number of trainings per pair (default: 1)")
    parser.add_argument(
        "--schedule", type=number_that(lambda number: 0 < number <= 1, "above 0 and at most 1"), default=1.0,
        help="fraction of each recipe's epochs to train for (default: 1)",
    )  # fmt: skip
    parser.add_argument("--samples", type=at_least(1), help="maximum number of samples per split (default: all)")
    add_test_samples(parser)
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="number format of the measurement (default: fp32)"
    )
    add_folders(parser)
    add_data_options(parser)
    return parser


if __name__ == "__main__":
    start(_parser())

import experiment_rotation
import experiment_variance
import plot_variances_models
from pytorch.experiments.reproduction import DRAW, MEASURE, TRAIN, Combination, Step

SCRIPTS = {TRAIN: experiment_rotation, MEASURE: experiment_variance, DRAW: plot_variances_models}


def main(arguments: list[str] | None = None) -> int:
    """Run the missing steps; return 1 if a step failed."""
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
    failed, skipped = [], []
    for number, step in enumerate(steps, 1):
        title = f"step {number} of {len(steps)}: {step.title}"
        if done[step.title]:
            continue
        if step.needs in failed:
            print(f"\n== {title}: skipped, because its models were not trained as requested")
            skipped.append(step.title)
        elif not _succeeds(step, title):
            failed.append(step.title)
    before = sum(done.values())
    counts = {
        "done before": before,
        "done now": len(steps) - before - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
    }
    summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "failed")
    print(f"{len(steps)} steps: {summary}; {time.perf_counter() - begun:.0f} s")
    return int(bool(failed))


def _succeeds(step: Step, title: str) -> bool:
    """Run a step and print its error, if any; return whether it succeeded."""
    print(f"\n== {title}\n{command_line(f'{step.script}.py', step.arguments)}", flush=True)
    try:
        return not SCRIPTS[step.script].main(step.arguments)
    except BrokenPipeError:
        raise
    except (Exception, SystemExit) as error:
        try:
            line = error_line(error)
        except (Exception, SystemExit) as unknown:
            traceback.print_exception(unknown)
            line = "a bug in the program; see the traceback above"
        print(f"error: {step.title}: {one_line(line)}", file=sys.stderr)
        if "--overwrite" in line:
            print("to replace existing results, run the command above with --overwrite", file=sys.stderr)
        return False


def _steps(options: argparse.Namespace) -> list[Step]:
    """All steps, grouped by data set, then the drawing, which always runs."""
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
    """Options for the folders and the device, without those that equal the defaults: tables quote the commands."""
    parser = Parser()
    add_folders(parser)
    add_data_options(parser)
    usual = parse(parser, ["--results-dir", str(options.results_dir)])
    usual.results_dir = parse(parser, []).results_dir
    changed = [name for name in vars(usual) if getattr(options, name) != getattr(usual, name)]
    return [part for name in changed for part in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]


def _fingerprint(dataset: str) -> str:
    """Digest of a folder's content; empty for a known data set, and for a folder that cannot be read."""
    try:
        return "" if dataset_name(dataset) in DATASETS else load_dataset(dataset, data_dir=None).source.fingerprint
    except InputError:  # its training reports it
        return ""


if __name__ == "__main__":
    run(main)
