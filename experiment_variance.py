#!/usr/bin/env python3
"""Measure the variance of every activation of both models of a trained pair.

    python experiment_variance.py resnet cifar10

Every test sample goes through both networks under every transformation; for each unit that gives its
transformation variance, its sample variance and their ratio, the normalized variance: over all samples, for each
class, and stratified. Written to <results-dir>/values/<model>_<dataset>_<transformation>_<aggregation>.pickle.

Expect the rotated model to vary less with rotations than the unrotated one. On two CPU cores simple_conv on the
10,000 test images of mnist takes four minutes.
"""

import argparse
import shlex
import sys

from pytorch.cli import RESULTS_DIR, check_writable, experiment_parser, parse, positive, run
from pytorch.datasets import dataset_name, load_dataset
from pytorch.errors import FileError, InputError
from pytorch.experiment import PAIR, UNROTATED, TrainedModel, VariancePair, versions
from pytorch.storage import load_model, model_file, save_values, values_file
from pytorch.transformations import TRANSFORMATIONS
from pytorch.variance import measure_variances
from pytorch.variance.activations import AGGREGATIONS


def main(arguments: list[str] | None = None) -> None:
    """Run the measurement with the given command line."""
    options = parse(_parser(), arguments)
    check_writable(options.results_dir / "values")
    models = {trained_on: _load(options, trained_on) for trained_on in PAIR}
    dataset = load_dataset(options.dataset, options.data_dir, options.samples, options.seed)
    for trained in models.values():
        if trained.classes != dataset.classes or trained.normalization != models[UNROTATED].normalization:
            raise InputError(
                f"the {trained.trained_on} model was trained on other data than {options.dataset}: train it anew "
                "with experiment_rotation.py --overwrite"
            )
    results = measure_variances(
        [trained.network() for trained in models.values()],
        dataset.test.images,
        dataset.test.labels,
        TRANSFORMATIONS[options.transformation](options.steps),
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
        seed=options.seed,
        versions=versions(),
    )
    path = values_file(options.results_dir, pair)
    save_values(path, pair)
    print_summary(pair)
    print(f"values: {path}")


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=positive, default=256, help="samples per forward pass (default: 256)")
    parser.add_argument(
        "--aggregation", choices=AGGREGATIONS, default="mean", help="how a feature map becomes a unit (default: mean)"
    )
    parser.add_argument(
        "--transformation",
        choices=TRANSFORMATIONS,
        default="rotation",
        help="what to measure under (default: rotation)",
    )
    parser.add_argument("--steps", type=positive, default=16, help="number of transformations (default: 16)")
    return parser


def _load(options: argparse.Namespace, trained_on: str) -> TrainedModel:
    path = model_file(options.results_dir, options.model, dataset_name(options.dataset), trained_on)
    if not path.exists():
        command = ["python", "experiment_rotation.py", options.model, options.dataset]
        if options.results_dir != RESULTS_DIR.expanduser():
            command += ["--results-dir", str(options.results_dir)]
        raise FileError(f"there is no {trained_on} model at {path}: first run {shlex.join(command)}")
    return load_model(path)


def print_summary(pair: VariancePair) -> None:
    """Print the global means of the normalized variance, and how many units have none."""
    print(f"\nnormalized variance, {pair.aggregation}, global mean      plain   stratified")
    for trained_on, result in pair.results.items():
        print(f"  {trained_on + ' model':<42}{result.global_mean():7.4f}   {result.global_mean('stratified'):10.4f}")
    for trained_on, result in pair.results.items():
        counts = result.unit_counts()
        print(
            f"  {trained_on} model: {counts['units']} units over {result.samples} samples and "
            f"{len(result.transformations)} transformations; {counts['constant']} constant (0/0, counted as 1), "
            f"{counts['infinite'] + counts['undefined']} not finite (left out of the means)"
        )
    few = [name for name, count in zip(result.classes, result.class_counts, strict=True) if count < 2]
    if few:
        print(f"  fewer than two samples, so no sample variance, and left out of stratified: {', '.join(few)}")


if __name__ == "__main__":
    sys.exit(run(main))
