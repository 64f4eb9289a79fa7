#!/usr/bin/env python3
"""Train, measure and draw everything that the tables of the paper need: four models on MNIST and CIFAR-10.

    python reproduce_paper.py

Trains both models of every pair, and measures them under 16 rotations with the aggregations mean and max. Measures the
same networks before training too. Then draws everything and writes the tables and the page, which begin with the claims
of the paper and what the measurements say about them. Only missing steps are run, so the script can be stopped and
started again. A failed step does not stop the others. --status says how far everything is, and does nothing.

On a GPU this takes minutes per pair. On two CPU cores, training a pair takes from 10 minutes to two hours.
--schedule 0.1 makes trainings shorter, which the tables state.
"""

import argparse
import sys
import time
import traceback

from pytorch.datasets import DATASETS, dataset_name, load_dataset
from pytorch.errors import InputError, one_line
from pytorch.experiments.provenance import command_line, machine
from pytorch.names import PRECISIONS
from pytorch.scripts.options import (
    Parser,
    add_data_options,
    add_folders,
    add_measure,
    add_test_samples,
    at_least,
    check_writable,
    dataset_argument,
    model_argument,
    number_that,
    parse,
    places,
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
    add_measure(parser)
    parser.add_argument("--status", action="store_true", help="only say how far everything is, and the time left")
    add_folders(parser)
    add_data_options(parser)
    return parser


if __name__ == "__main__":
    start(_parser())

import experiment_rotation
import experiment_variance
import plot_variances_models
from pytorch.experiments.reproduction import DRAW, MEASURE, TRAIN, Step, steps_of, time_left
from pytorch.experiments.standing import Combination
from pytorch.experiments.standing_table import standing_lines
from pytorch.progress_bar import progress_bar
from pytorch.report.album import Album
from pytorch.report.findings import find_results
from pytorch.report.gallery import Look, plan

SCRIPTS = {TRAIN: experiment_rotation, MEASURE: experiment_variance, DRAW: plot_variances_models}

LOOK, LOOK_OPTIONS = Look(sort=True), ["--sort"]
"""How to draw, and the options of the script that say the same."""


def main(arguments: list[str] | None = None) -> int:
    """Run the missing steps; return 1 if a step failed."""
    parser = _parser()
    options = parse(parser, arguments)
    names = [dataset_name(dataset) for dataset in options.datasets]
    if len(set(names)) < len(names) or len(set(options.models)) < len(options.models):
        parser.error(f"name each model and each data set once: {', '.join([*options.models, *names])}")
    combinations = _combinations(options)
    if options.status:
        _print_status(options, combinations)
        return 0
    for folder in (options.results_dir, options.plots_dir):
        check_writable(folder)
    begun = time.perf_counter()
    steps = _steps(options, combinations)
    for step in steps:
        print(f"{'done' if step.is_done else 'to do':<7}{step.title}")
    failed, skipped = [], []
    for index, step in enumerate(steps):
        if step.is_done:
            continue
        title = f"step {index + 1} of {len(steps)}: {step.title}"
        if step.needs in failed:
            print(f"\n== {title}: skipped, because its models were not trained as requested")
            skipped.append(step.title)
            continue
        print(f"\n== {title}{_position(_steps(options, combinations), index)}")
        if not _succeeds(step):
            failed.append(step.title)
    before = sum(step.is_done for step in steps)
    counts = {
        "done before": before,
        "done now": len(steps) - before - len(failed) - len(skipped),
        "failed": len(failed),
        "skipped": len(skipped),
    }
    summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "failed")
    print(f"{len(steps)} steps: {summary}; {time.perf_counter() - begun:.0f} s")
    return int(bool(failed))


def _position(steps: list[Step], index: int) -> str:
    """Say which combination a step belongs to, how many of its epochs are done, and the time left for all steps."""
    step, combinations = steps[index], list(dict.fromkeys(step.combination for step in steps if step.combination))
    if not step.combination:
        return ""
    parts = [f"combination {combinations.index(step.combination) + 1} of {len(combinations)}"]
    if step.epochs:
        parts.append("{} of {} epochs done".format(*step.epochs))
    return f" ({', '.join(parts)}); time left for everything: {time_left(steps[index:])}"


def _succeeds(step: Step) -> bool:
    """Run a step and print its command and its error, if any; return whether it succeeded."""
    print(command_line(f"{step.script}.py", step.arguments), flush=True)
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


def _combinations(options: argparse.Namespace) -> list[Combination]:
    """Everything that is asked for, grouped by data set."""
    return [
        Combination(
            model, dataset, options.results_dir, fingerprint, options.seeds, options.schedule, options.samples,
            options.test_samples, options.precision, options.measure, machine(options.device),
        )
        for dataset in options.datasets
        for fingerprint in [_fingerprint(dataset)]
        for model in options.models
    ]  # fmt: skip


def _steps(options: argparse.Namespace, combinations: list[Combination]) -> list[Step]:
    """All steps as far as they are done now, then the drawing, which always runs."""
    where = places(options)
    listed = [step for each in combinations for step in steps_of(each, each.standing(), where)]
    return [*listed, Step(DRAW, f"draw into {options.plots_dir}", [*where, *LOOK_OPTIONS])]


def _print_status(options: argparse.Namespace, combinations: list[Combination]) -> None:
    """Print how far everything is."""
    found = [(each, each.standing()) for each in progress_bar(combinations, title="reading", leave=False)]
    results = find_results(options.results_dir)
    planned = plan(results, LOOK)
    due = {plot.name for plot in Album(options.plots_dir).due(planned, LOOK)}
    drawn = {}
    for each in combinations:
        of = {"model": each.model, "dataset": dataset_name(each.dataset)}
        names = {plot.name for plot in planned if plot.of.items() >= of.items()}
        if names:
            drawn[each.title] = f"{len(names - due)} of {len(names)}"
    print("\n".join(standing_lines(found, drawn)))
    for error in results.errors:
        print(f"cannot be drawn: {one_line(error)}")
    print(f"\nfigures of all results: {len(planned) - len(due)} of {len(planned)} in {options.plots_dir}")
    print(f"time left: {time_left([step for each, standing in found for step in steps_of(each, standing)])}")
    print("Times are those of epochs and measurements on this machine; evaluation and drawing come on top.")


def _fingerprint(dataset: str) -> str:
    """Digest of a folder's content; empty for a known data set, and for a folder that cannot be read."""
    try:
        return "" if dataset_name(dataset) in DATASETS else load_dataset(dataset, data_dir=None).source.fingerprint
    except InputError:  # its training reports it
        return ""


if __name__ == "__main__":
    run(main)
