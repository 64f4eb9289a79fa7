#!/usr/bin/env python3
"""Measure the variance of every activation of both models of a trained pair, or of any other network.

    python experiment_variance.py resnet cifar10
    python experiment_variance.py torchvision:resnet50 path/to/images --pretrained

Runs every test sample through both networks under every transformation. For each unit this gives the transformation
variance, the sample variance and their ratio, the normalized variance: over all samples, per class, and stratified.
Each layer gets an error bar. Writes one file per aggregation,
<results-dir>/values/<model>_<dataset>_<transformation>_<aggregation>.pickle. --measure both also measures, in the same
pass, whether feature maps turn with the image, into <model>_<dataset>_<transformation>_same-equivariance.pickle.

Expect the rotated model to vary less with rotations than the unrotated one. Two controls check this:
--control random-weights measures the network before training; --control shuffled measures the trained networks with
the samples permuted across transformations. --while-training also measures the epochs that experiment_rotation.py
--keep-epochs kept, into <results-dir>/values/while-training/. A network from elsewhere is measured beside itself with
random weights, and needs no training here. On two CPU cores, simple_conv on the 10,000 test images of mnist takes
three minutes, and each further epoch half of that. Existing measurements with the same options are not repeated.

torchrun shares the samples among several processes, each on a core or a GPU of its own:

    torchrun --nproc-per-node 2 experiment_variance.py resnet cifar10
"""

import argparse
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

from pytorch.datasets import dataset_name, dataset_source, load_dataset
from pytorch.errors import FileError, InputError
from pytorch.experiments.provenance import command_line, machine, now, running_commit, versions
from pytorch.experiments.vocabulary import PAIR, ROTATED, SHUFFLED, UNROTATED
from pytorch.files.lock import sole_run
from pytorch.models.libraries import file_name, is_library_name
from pytorch.names import EQUIVARIANCE, kinds_of
from pytorch.scripts.options import (
    Parser,
    add_measuring_options,
    add_network_options,
    check_writable,
    experiment_parser,
    parse,
    places,
)
from pytorch.scripts.script import run, start


def _parser() -> Parser:
    parser = experiment_parser(__doc__.splitlines()[0], any_network=True)
    add_measuring_options(parser)
    add_network_options(parser)
    return parser


if __name__ == "__main__":
    start(_parser())

import torch
from torch import nn

from pytorch.available_memory import available_memory
from pytorch.datasets.dataset import Dataset
from pytorch.experiments.kept_epochs import KeptEpochs
from pytorch.experiments.pair_replacement import check_settled
from pytorch.experiments.protocol import Protocol, Setting
from pytorch.experiments.storage import (
    epochs_folder,
    load_model,
    load_series,
    load_values,
    model_file,
    model_folder,
    save_series,
    save_values,
    series_file,
    values_file,
    values_folder,
)
from pytorch.experiments.subject import Subject, network_subject, pair_subject
from pytorch.experiments.summary import print_summary
from pytorch.experiments.torchrun import (
    first_then_others,
    from_first,
    group,
    is_first,
    sum_of_ranks,
    torchrun_group,
)
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.variance_series import VarianceSeries
from pytorch.transformations import transformation_set
from pytorch.variance import VarianceResult, measure_variances
from pytorch.variance.arguments import kept_labels

UNREADABLE = "unreadable images"
"""Setting that counts the images of a folder that were left out."""


@torchrun_group()
def main(arguments: list[str] | None = None) -> None:
    """Run the measurement with the given command line."""
    options = parse(_parser(), arguments)
    check_writable(values_folder(options.results_dir))
    elsewhere = is_library_name(options.model)
    what = options.name or file_name(options.model) if elsewhere else options.model, dataset_name(options.dataset)
    if options.while_training:
        _check_kept(options)
    dataset = cache(lambda: load_dataset(options.dataset, options.data_dir, options.samples, options.seed))
    for further_seed in (None, *range(options.seed + 1, options.seed + options.seeds)):
        paths = {
            name: values_file(options.results_dir, *what, options.transformation, name, options.control, further_seed)
            for name in kinds_of(options.measure, options.aggregation)
        }
        with ExitStack() as locks:
            for path in sorted(paths.values()) if is_first() else []:
                locks.enter_context(sole_run(path.with_name(f".{path.name}.lock"), f"measuring {path.stem}"))
            # Rank 0 may download what the others then read.
            subject = first_then_others(
                partial(_network, options, what[0]) if elsewhere else partial(_pair, options, dataset, further_seed)
            )
            _measure(options, subject, paths, command_line(__file__, arguments))
            if options.while_training and further_seed is None:
                _measure_epochs(options, subject, paths)


def _pair(options: argparse.Namespace, load: Callable[[], Dataset], further_seed: int | None) -> Subject:
    """Load a trained pair and its data."""
    folder = model_folder(options.results_dir, options.model, dataset_name(options.dataset))
    check_settled(folder)
    models = {trained_on: _load(options, trained_on, further_seed) for trained_on in PAIR}
    check_settled(folder)  # again: another process may have begun to replace them
    return pair_subject(models, load(), options.control)


def _network(options: argparse.Namespace, label: str) -> Subject:
    """Build a network from elsewhere and open its images."""
    names = "weights", "pretrained", "image_size", "mean", "std", "data_dir", "samples", "seed", "batch_size"
    return network_subject(
        options.model, options.dataset, label=label, **{name: getattr(options, name) for name in names}
    )


def _measure(options: argparse.Namespace, subject: Subject, paths: dict[str, Path], command: str) -> None:
    """Measure what is missing, and write one file per aggregation, and one of the equivariance.

    If torchrun has started several processes, each measures a shard of the samples, and rank 0 writes.
    """
    kept_labels(True if options.classes is None else options.classes, subject.classes)  # before older files matter
    weights = subject.weights
    if not options.overwrite:
        missing = from_first(
            lambda: [name for name, path in paths.items() if not _is_measured(path, name, options, subject, weights)]
        )
        paths = {name: paths[name] for name in missing}
    if not paths:
        return
    begun = time.perf_counter()
    measured = _measure_networks(options, subject, subject.networks, list(paths), "measuring")
    seconds = time.perf_counter() - begun
    count = int(sum_of_ranks(torch.tensor(len(getattr(subject.images, "unreadable", ())))))
    unreadable = {UNREADABLE: count} if count else {}
    if not is_first():
        return
    for name, path in paths.items():
        pair = VariancePair(
            model=subject.model,
            dataset=subject.dataset,
            transformation=options.transformation,
            control=options.control,
            results={network: by_name[name] for network, by_name in measured.items()},
            accuracy=subject.accuracy,
            # Accuracy against the angle is of all classes.
            angle_curves=subject.angle_curves if options.classes is None and name != EQUIVARIANCE else {},
            training={state: made | unreadable for state, made in subject.training.items()},
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


def _measure_networks(
    options: argparse.Namespace,
    subject: Subject,
    networks: Mapping[Any, nn.Module],
    kinds: list[str],
    progress: str,
) -> dict[Any, dict[str, VarianceResult]]:
    """Measure networks on the samples of a subject, as the options say; return results by aggregation for each."""
    aggregations = [kind for kind in kinds if kind != EQUIVARIANCE]
    turned = EQUIVARIANCE in kinds
    measured = measure_variances(
        networks,
        subject.images,
        subject.labels,
        transformation_set(options.transformation, options.steps),
        preprocess=subject.preprocess,
        aggregation=aggregations or "mean",
        batch_size=options.batch_size,
        device=options.device,
        classes=subject.classes,
        precision=options.precision,
        tolerance=options.tolerance,
        shuffled=options.control == SHUFFLED,
        seed=options.seed,
        progress=progress if is_first() else None,
        class_statistics=True if options.classes is None else options.classes,
        process_group=group(),
        measure="both" if turned and aggregations else "equivariance" if turned else "invariance",
        positions=options.positions,
    )
    if not turned or not is_first():  # other ranks have no results
        return measured
    if not aggregations:
        return {network: {EQUIVARIANCE: result} for network, result in measured.items()}
    return {network: {**both["invariance"], EQUIVARIANCE: both["equivariance"]} for network, both in measured.items()}


def _check_kept(options: argparse.Namespace) -> None:
    """Check that epochs of the first pair were kept, unless it is missing altogether.

    Raises:
        FileError: None was kept.
    """
    files = [model_file(options.results_dir, options.model, dataset_name(options.dataset), each) for each in PAIR]
    if any(path.exists() for path in files) and not any(epochs_folder(path).exists() for path in files):
        raise FileError(f"no epochs were kept of the models in {files[0].parent}: train them again with "
                        "experiment_rotation.py --keep-epochs --overwrite")  # fmt: skip


def _measure_epochs(options: argparse.Namespace, subject: Subject, paths: dict[str, Path]) -> None:
    """Measure the earlier epochs of a pair like its trained models, and write one file per aggregation."""
    what = options.results_dir, subject.model, subject.dataset
    kept = {trained_on: KeptEpochs(model_file(*what, trained_on)) for trained_on in PAIR}
    earlier = [(trained_on, epoch) for trained_on in PAIR for epoch in [*kept[trained_on]][:-1]]
    due = [each for each in earlier if each != (ROTATED, 0)]  # both began with the same weights
    pairs = {name: load_values(path) for name, path in paths.items()} if is_first() else {}
    files = {name: series_file(*what, options.transformation, name) for name in paths}
    if not options.overwrite:
        missing = from_first(
            lambda: [name for name, path in files.items() if not _is_followed(path, pairs[name], earlier)]
        )
        files = {name: files[name] for name in missing}
    if not files:
        return
    size = sum(values.nbytes for values in kept[UNROTATED].trained.weights.values())
    room = min(available_memory(place) for place in (options.device, torch.device("cpu"))) / 4
    together = from_first(lambda: max(1, int(room / size)))
    measured: dict[tuple[str, int], dict[str, VarianceResult]] = {}
    for index in range(0, len(due), together):
        networks = {(trained_on, epoch): kept[trained_on][epoch] for trained_on, epoch in due[index : index + together]}
        measured |= _measure_networks(options, subject, networks, list(files), "measuring epochs")
    if not is_first():
        return
    measured[ROTATED, 0] = measured[UNROTATED, 0]
    for name, path in files.items():
        by_epoch = {
            trained_on: {epoch: measured[trained_on, epoch][name] for model, epoch in earlier if model == trained_on}
            for trained_on in PAIR
        }
        history = {trained_on: kept[trained_on].trained.history for trained_on in PAIR}
        save_series(path, VarianceSeries(pairs[name], by_epoch, history))
        print(f"values of {len(earlier)} earlier epochs: {path}")


def _is_followed(path: Path, pair: VariancePair, earlier: list[tuple[str, int]]) -> bool:
    """Whether a file contains a measurement of these earlier epochs, made like that of the trained models."""
    if not path.exists():
        return False
    old = load_series(path)
    found = [(trained_on, epoch) for trained_on in PAIR for epoch in old.earlier[trained_on]]
    if old.pair.protocol != pair.protocol or found != earlier:
        print(f"{path} belongs to another measurement: measuring its epochs again")
        return False
    print(f"already measured: {path}")
    return True


def _load(options: argparse.Namespace, trained_on: str, further_seed: int | None) -> TrainedModel:
    """Load a model of the pair."""
    dataset = dataset_name(options.dataset)
    path = model_file(options.results_dir, options.model, dataset, trained_on, further_seed)
    if not path.exists():
        command, first = ["python", "experiment_rotation.py", options.model, options.dataset], ""
        if further_seed is not None:
            command += ["--seed", str(options.seed), "--seeds", str(options.seeds)]
            first = ", with the other options of the first pair"
        if options.while_training:
            command += ["--keep-epochs"]
        command += places(options)
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


def _is_measured(
    path: Path, aggregation: str, options: argparse.Namespace, subject: Subject, weights: dict[str, str]
) -> bool:
    """Whether a file already contains the requested measurement; with all samples, the seed does not matter.

    Raises:
        InputError: The file has other samples, classes, steps or precision, or is of another network, and would be
            lost.
        FileError: The file contains a different measurement, or cannot be read.
    """
    if not path.exists():
        return False
    try:
        old = load_values(path)
    except FileError as error:
        raise FileError(f"{error}; --overwrite makes it again") from error
    what = {"model": subject.model, "dataset": subject.dataset, "aggregation": aggregation}
    what |= {name: getattr(options, name) for name in ("transformation", "control")}
    if old.protocol.differences(Protocol(what)):
        raise FileError(f"{path} contains another measurement, which was moved there: remove it, or restore its name")
    how = {name: getattr(options, name) for name in ("steps", "precision", "tolerance", "seed")}
    random = options.samples is not None or options.tolerance is not None or options.control == SHUFFLED
    if aggregation == EQUIVARIANCE:
        random = random or options.positions is not None
        how["positions"] = old.any_result.positions_for(options.positions)
    asked = Protocol({"samples": subject.samples - _unreadable(old.training), **how})
    differs = old.protocol.differences(asked, ignore=[] if random else ["seed"])
    elsewhere = is_library_name(options.model)
    if elsewhere:
        differs = "; ".join(filter(None, [differs, _changes(old, subject, weights)]))
    chosen = [name for name in subject.classes or [] if options.classes is None or name in options.classes]
    if aggregation != EQUIVARIANCE and old.any_result.classes != chosen:
        differs = "; ".join(filter(None, [differs, "statistics of other classes"]))
    if differs:
        other = "another --name" if elsewhere else "copying the trained models to another --results-dir"
        raise InputError(f"{path} was measured with {differs}: replace it with --overwrite, or keep both by {other}")
    if old.weights != weights:
        print(f"{path} belongs to models that have been replaced: measuring the new ones")
        return False
    print_summary(old)
    print(f"already measured: {path}")
    return True


def _changes(old: VariancePair, subject: Subject, weights: dict[str, str]) -> str:
    """Say how networks from elsewhere, or their images, differ from those that were measured; empty if they do not."""
    if old.results.keys() != subject.networks.keys():
        return f"the states {' and '.join(old.results)}, not {' and '.join(subject.networks)}"
    changes = [
        Protocol(old.training.get(state, {})).differences(Protocol(made)) for state, made in subject.training.items()
    ]
    others = "other weights" if old.weights != weights else ""
    return "; ".join(dict.fromkeys(filter(None, changes))) or others


def _unreadable(training: dict[str, dict[str, Setting]]) -> int:
    """Return the number of images that could not be read, as a measurement records it."""
    return max((made.get(UNREADABLE, 0) for made in training.values()), default=0)


if __name__ == "__main__":
    run(main)
