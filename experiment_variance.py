#!/usr/bin/env python3
"""Measure the variance of every activation of both models of a trained pair.

    python experiment_variance.py resnet cifar10

Every test sample goes through both networks under every transformation; for each unit that gives its
transformation variance, its sample variance and their ratio, the normalized variance: over all samples, for each
class, and stratified. Written to <results-dir>/values/<model>_<dataset>_<transformation>_<aggregation>.pickle.

Expect the rotated model to vary less with rotations than the unrotated one. On two CPU cores simple_conv on the
10,000 test images of mnist takes three minutes.
"""

import argparse
import shlex
from pathlib import Path

from pytorch.cli import RESULTS_DIR, at_least, check_writable, experiment_parser, parse, run
from pytorch.datasets import dataset_name, load_dataset
from pytorch.errors import FileError, InputError
from pytorch.experiment import PAIR, UNROTATED, TrainedModel, VariancePair, check_pair, versions
from pytorch.storage import load_model, load_values, model_file, save_values, values_file
from pytorch.transformations import TRANSFORMATIONS
from pytorch.variance import measure_variances
from pytorch.variance.activations import AGGREGATIONS
from pytorch.variance.result import ALL, STRATIFIED


def main(arguments: list[str] | None = None) -> None:
    """Run the measurement with the given command line."""
    options = parse(_parser(), arguments)
    check_writable(options.results_dir / "values")
    models = {trained_on: _load(options, trained_on) for trained_on in PAIR}
    dataset = load_dataset(options.dataset, options.data_dir, options.samples, options.seed)
    check_pair(models, dataset)
    path = values_file(options.results_dir, options.model, dataset.name, options.transformation, options.aggregation)
    transformations = TRANSFORMATIONS[options.transformation](options.steps)
    if path.exists() and not options.overwrite:
        _check_replaceable(path, len(dataset.test), len(transformations), options.seed if options.samples else None)
    results = measure_variances(
        [trained.network() for trained in models.values()],
        dataset.test.images,
        dataset.test.labels,
        transformations,
        preprocess=models[UNROTATED].normalization,
        aggregation=options.aggregation,
        batch_size=options.batch_size,
        device=options.device,
        classes=dataset.classes,
        progress="measuring",
    )
    pair = VariancePair(
        model=options.model,
        dataset=dataset.name,
        transformation=options.transformation,
        results=dict(zip(models, results, strict=True)),
        accuracy={trained_on: trained.accuracy for trained_on, trained in models.items()},
        training={trained_on: {**trained.settings, "epochs": trained.epochs} for trained_on, trained in models.items()},
        seed=options.seed,
        versions=versions(),
    )
    save_values(path, pair)
    print_summary(pair)
    print(f"values: {path}")


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=at_least(1), default=256, help="samples per forward pass (default: 256)")
    parser.add_argument(
        "--aggregation", choices=AGGREGATIONS, default="mean", help="how a feature map becomes a unit (default: mean)"
    )
    parser.add_argument(
        "--transformation",
        choices=TRANSFORMATIONS,
        default="rotation",
        help="what to measure under (default: rotation)",
    )
    parser.add_argument("--steps", type=at_least(2), default=16, help="number of transformations (default: 16)")
    parser.add_argument("--overwrite", action="store_true", help="replace a measurement of other samples or steps")
    return parser


def _load(options: argparse.Namespace, trained_on: str) -> TrainedModel:
    """Load a model of the pair."""
    dataset = dataset_name(options.dataset)
    path = model_file(options.results_dir, options.model, dataset, trained_on)
    if not path.exists():
        command = ["python", "experiment_rotation.py", options.model, options.dataset]
        if options.results_dir != RESULTS_DIR.expanduser():
            command += ["--results-dir", str(options.results_dir)]
        raise FileError(f"there is no {trained_on} model at {path}: first run {shlex.join(command)}")
    trained = load_model(path)
    if (trained.model, trained.dataset, trained.trained_on) != (options.model, dataset, trained_on):
        raise FileError(
            f"{path} holds the {trained.trained_on} {trained.model} of {trained.dataset}: it was moved there"
        )
    return trained


def _check_replaceable(path: Path, samples: int, steps: int, seed: int | None) -> None:
    """Refuse to replace a measurement by one of other samples or transformations; all samples have no seed.

    Raises:
        InputError: It would be.
    """
    old = load_values(path)
    result = old.results[UNROTATED]
    found, asked = (result.samples, len(result.transformations), old.seed), (samples, steps, seed)
    if found[:2] != asked[:2] or seed not in (None, old.seed):
        raise InputError(
            f"{path} was measured with other (samples, steps, seed), {found} and not {asked}: "
            "--overwrite replaces it, another --results-dir keeps both"
        )


def print_summary(pair: VariancePair) -> None:
    """Print the global means of the normalized variance, and how many units have none."""
    print(f"\nnormalized variance, {pair.aggregation}, global mean      plain   stratified")
    for trained_on, result in pair.results.items():
        print(f"  {trained_on + ' model':<42}{result.global_mean():7.4f}   {result.global_mean('stratified'):10.4f}")
    print(f"  {result.samples} samples, {len(result.transformations)} transformations; of the units, 0/0 count as 1,")
    print("  and those that are not finite are left out of the means:")
    for trained_on, result in pair.results.items():
        for group, name in ((ALL, "plain"), (STRATIFIED, "stratified")):
            counts = result.unit_counts(group)
            print(f"  {trained_on + ' model, ' + name:<31}{counts['units']:9d} units{counts['constant']:9d} are 0/0"
                  f"{counts['infinite'] + counts['undefined']:9d} not finite")  # fmt: skip
    few = [name for name, count in zip(result.classes, result.class_counts, strict=True) if count < 2]
    if few:
        print(f"  fewer than two samples, so no sample variance, and left out of stratified: {', '.join(few)}")


if __name__ == "__main__":
    run(main)
