#!/usr/bin/env python3
"""Measure the variance of every activation of both models of a trained pair.

    python experiment_variance.py resnet cifar10

Runs every test sample through both networks under every transformation. For each unit this gives the transformation
variance, the sample variance and their ratio, the normalized variance: over all samples, per class, and stratified.
Each layer gets an error bar. Writes one file per aggregation,
<results-dir>/values/<model>_<dataset>_<transformation>_<aggregation>.pickle.

Expect the rotated model to vary less with rotations than the unrotated one. Two controls check this:
--control random-weights measures the network before training; --control shuffled measures the trained networks with
the samples permuted across transformations. On two CPU cores, simple_conv on the 10,000 test images of mnist takes
three minutes. Existing measurements with the same options are not repeated.
"""

import argparse
import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from pytorch.datasets import dataset_name, dataset_source, load_dataset
from pytorch.errors import FileError, InputError
from pytorch.experiments.provenance import command_line, machine, now, running_commit, versions
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS, SHUFFLED, UNROTATED, UNTRAINED
from pytorch.files.lock import sole_run
from pytorch.scripts.options import (
    PLOTS_DIR,
    RESULTS_DIR,
    Parser,
    add_measuring_options,
    check_writable,
    experiment_parser,
    parse,
)
from pytorch.scripts.script import run, start


def _parser() -> Parser:
    parser = experiment_parser(__doc__.splitlines()[0])
    add_measuring_options(parser)
    return parser


if __name__ == "__main__":
    start(_parser())

from torch import nn

from pytorch.datasets.dataset import Dataset
from pytorch.experiments.pair_replacement import check_settled
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.storage import (
    load_model,
    load_values,
    model_file,
    model_folder,
    save_values,
    values_file,
    values_folder,
)
from pytorch.experiments.summary import print_summary
from pytorch.experiments.trained_model import TrainedModel, check_pair, weights_digest
from pytorch.experiments.variance_pair import VariancePair
from pytorch.transformations import transformation_set
from pytorch.variance import measure_variances


def main(arguments: list[str] | None = None) -> None:
    """Run the measurement with the given command line."""
    options = parse(_parser(), arguments)
    check_writable(values_folder(options.results_dir))
    what = options.results_dir, options.model, dataset_name(options.dataset)
    dataset = cache(lambda: load_dataset(options.dataset, options.data_dir, options.samples, options.seed))
    for further_seed in (None, *range(options.seed + 1, options.seed + options.seeds)):
        paths = {
            name: values_file(*what, options.transformation, name, options.control, further_seed)
            for name in options.aggregation
        }
        with ExitStack() as locks:
            for path in sorted(paths.values()):
                locks.enter_context(sole_run(path.with_name(f".{path.name}.lock"), f"measuring {path.stem}"))
            _measure(options, dataset, paths, further_seed, command_line(__file__, arguments))


def _measure(
    options: argparse.Namespace,
    load: Callable[[], Dataset],
    paths: dict[str, Path],
    further_seed: int | None,
    command: str,
) -> None:
    """Measure what is missing of a pair, and write one file per aggregation."""
    folder = model_folder(options.results_dir, options.model, dataset_name(options.dataset))
    check_settled(folder)
    models = {trained_on: _load(options, trained_on, further_seed) for trained_on in PAIR}
    check_settled(folder)  # again: another process may have begun to replace them
    dataset = load()
    check_pair(models, dataset)
    transformations = transformation_set(options.transformation, options.steps)
    networks = _networks(models, options.control)
    weights = {name: weights_digest(network.state_dict()) for name, network in networks.items()}
    if not options.overwrite:
        kept = [name for name, path in paths.items() if _is_measured(path, name, options, len(dataset.test), weights)]
        paths = {name: path for name, path in paths.items() if name not in kept}
    if not paths:
        return
    begun = time.perf_counter()
    measured = measure_variances(
        networks,
        dataset.test.images,
        dataset.test.labels,
        transformations,
        preprocess=models[UNROTATED].normalization,
        aggregation=list(paths),
        batch_size=options.batch_size,
        device=options.device,
        classes=dataset.classes,
        precision=options.precision,
        tolerance=options.tolerance,
        shuffled=options.control == SHUFFLED,
        seed=options.seed,
        progress="measuring",
    )
    seconds = time.perf_counter() - begun
    for name, path in paths.items():
        results = {network: by_name[name] for network, by_name in measured.items()}
        pair = VariancePair(
            model=options.model,
            dataset=dataset.name,
            transformation=options.transformation,
            control=options.control,
            results=results,
            **_origin(models, options.control),
            weights=weights,
            source=dataset_source(options.dataset),
            seed=options.seed,
            command=command,
            machine=machine(options.device),
            date=now(),
            seconds=seconds,
            versions=versions() | ({"commit": code} if (code := running_commit()) else {}),
        )
        save_values(path, pair)
        print_summary(pair)
        print(f"values: {path}")


def _load(options: argparse.Namespace, trained_on: str, further_seed: int | None) -> TrainedModel:
    """Load a model of the pair."""
    dataset = dataset_name(options.dataset)
    path = model_file(options.results_dir, options.model, dataset, trained_on, further_seed)
    if not path.exists():
        command, first = ["python", "experiment_rotation.py", options.model, options.dataset], ""
        if further_seed is not None:
            command += ["--seed", str(options.seed), "--seeds", str(options.seeds)]
            first = ", with the other options of the first pair"
        if options.results_dir != RESULTS_DIR.expanduser():
            command += ["--results-dir", str(options.results_dir)]
        if options.plots_dir != PLOTS_DIR:
            command += ["--plots-dir", str(options.plots_dir)]
        raise FileError(f"there is no {trained_on} model at {path}: first run {shlex.join(command)}{first}")
    trained = load_model(path)
    found = trained.model, trained.dataset, trained.trained_on
    if found != (options.model, dataset, trained_on) or further_seed not in (None, trained.seed):
        raise FileError(
            f"{path} contains the {trained.trained_on} {trained.model} of {trained.dataset}, seed {trained.seed}: the "
            "file was moved there"
        )
    if options.seeds > 1 and further_seed is None and trained.seed != options.seed:
        raise InputError(f"--seeds counts from the first trained pair, {path}: use --seed {trained.seed}")
    return trained


def _networks(models: dict[str, TrainedModel], control: str | None) -> dict[str, nn.Module]:
    """The networks to measure, by name."""
    if control == RANDOM_WEIGHTS:
        return {UNTRAINED: models[UNROTATED].network(trained=False)}
    return {trained_on: trained.network() for trained_on, trained in models.items()}


def _origin(models: dict[str, TrainedModel], control: str | None) -> dict[str, dict[str, Any]]:
    """Accuracies and training settings of the measured networks."""
    if control == RANDOM_WEIGHTS:
        protocol = models[UNROTATED].protocol | {"epochs": 0}
        return {"accuracy": {}, "angle_curves": {}, "training": {UNTRAINED: protocol.settings}}
    return {
        "accuracy": {name: trained.accuracy for name, trained in models.items()},
        "angle_curves": {name: trained.angle_curve for name, trained in models.items() if trained.angle_curve},
        "training": {name: trained.protocol.settings for name, trained in models.items()},
    }


def _is_measured(
    path: Path, aggregation: str, options: argparse.Namespace, samples: int, weights: dict[str, str]
) -> bool:
    """Whether a file already contains the requested measurement; with all samples, the seed does not matter.

    Raises:
        InputError: The file has other samples, steps or precision, and would be lost.
        FileError: The file contains a different measurement.
    """
    if not path.exists():
        return False
    old = load_values(path)
    what = Protocol({name: getattr(options, name) for name in ("model", "transformation", "control")})
    if old.protocol.differences(what | {"dataset": dataset_name(options.dataset), "aggregation": aggregation}):
        raise FileError(f"{path} contains another measurement, which was moved there: remove it, or restore its name")
    how = {name: getattr(options, name) for name in ("steps", "precision", "tolerance", "seed")}
    random = options.samples is not None or options.tolerance is not None or options.control == SHUFFLED
    if differs := old.protocol.differences(Protocol({"samples": samples, **how}), ignore=[] if random else ["seed"]):
        raise InputError(
            f"{path} was measured with {differs}: replace it with --overwrite, "
            "or keep both by copying the trained models to another --results-dir"
        )
    if old.weights != weights:
        print(f"{path} belongs to models that have been replaced: measuring the new ones")
        return False
    print_summary(old)
    print(f"already measured: {path}")
    return True


if __name__ == "__main__":
    run(main)
