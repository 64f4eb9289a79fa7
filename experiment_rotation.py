#!/usr/bin/env python3
"""Train the two models of a pair: one on upright samples, one on randomly rotated samples.

    python experiment_rotation.py resnet cifar10

Both are evaluated on the whole test set, upright and rotated (a fixed angle for each image), and written to
<results-dir>/models/<model>_<dataset>/{unrotated,rotated}.pt. The training curves and the four accuracies are drawn
into <plots-dir>/<model>_<dataset>/. A model that is already there is not trained again.

Expect the unrotated model to fail on rotated data, and the rotated one to do nearly as well on both. On two CPU
cores simple_conv takes a minute on digits and twelve on mnist; deeper models on cifar10 want a GPU.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from pytorch.cli import at_least, check_writable, experiment_parser, parse, run
from pytorch.datasets import Dataset, dataset_name, load_dataset
from pytorch.errors import InputError
from pytorch.evaluation import accuracies
from pytorch.experiment import PAIR, ROTATED, TrainedModel, initial_network, versions
from pytorch.figures import accuracy_figure, save_figure, training_figure
from pytorch.recipes import Recipe, recipe_for
from pytorch.storage import load_model, model_file, pair_name, save_model
from pytorch.training import train


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment with the given command line."""
    options = parse(_parser(), arguments)
    pair = pair_name(options.model, dataset_name(options.dataset))
    for folder in (options.results_dir / "models" / pair, options.plots_dir / pair):
        check_writable(folder)
    dataset = load_dataset(options.dataset, options.data_dir, options.samples, options.seed)
    recipe = recipe_for(options.model, dataset.name).with_options(
        options.epochs, options.rotated_epochs, options.batch_size
    )
    print(f"{dataset.name}: {len(dataset.train)} training samples, {len(dataset.test)} test samples")
    models = {trained_on: _trained(options, dataset, recipe, trained_on) for trained_on in PAIR}
    if options.overwrite:
        for trained in models.values():
            _save(options, trained)
    print_accuracies(models)
    for name, figure in (("training", training_figure(models)), ("accuracy", accuracy_figure(models))):
        print(f"figure: {save_figure(figure, options.plots_dir / pair / f'{name}.png')}")


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser(__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=at_least(1), help="of the unrotated model (default: see pytorch/recipes.py)")
    parser.add_argument("--rotated-epochs", type=at_least(1), help="of the rotated model (default: in proportion)")
    parser.add_argument("--batch-size", type=at_least(1), help="samples per step (default: see pytorch/recipes.py)")
    parser.add_argument("--overwrite", action="store_true", help="train anew; the old pair stays until then")
    return parser


def _trained(options: argparse.Namespace, dataset: Dataset, recipe: Recipe, trained_on: str) -> TrainedModel:
    """Load the model if it is there, else train, evaluate and save it."""
    untrained = TrainedModel(
        model=options.model,
        dataset=dataset.name,
        trained_on=trained_on,
        channels=dataset.train.images.shape[1],
        classes=dataset.classes,
        normalization=dataset.normalization,
        recipe=recipe,
        seed=options.seed,
        samples=len(dataset.train),
        history=[],
        accuracy={},
        test_samples=len(dataset.test),
        weights={},
        versions=versions(),
        fingerprint=dataset.source.fingerprint,
    )
    path = model_file(options.results_dir, options.model, dataset.name, trained_on)
    if path.exists() and not options.overwrite:
        return _kept(path, untrained)
    network = initial_network(options.model, untrained.channels, len(dataset.classes), options.seed)
    network.to(options.device)
    history = train(
        network, dataset.train, untrained.normalization, recipe,
        rotated=trained_on == ROTATED, seed=options.seed, device=options.device, name=f"{trained_on} model",
    )  # fmt: skip
    accuracy = accuracies(network, dataset.test, untrained.normalization, recipe.batch_size, options.device)
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    trained = replace(untrained, history=history, accuracy=accuracy, weights=weights)
    if not options.overwrite:  # else the old pair stays until the new one is complete
        _save(options, trained)
    return trained


def _save(options: argparse.Namespace, trained: TrainedModel) -> None:
    path = model_file(options.results_dir, options.model, trained.dataset, trained.trained_on)
    save_model(path, trained)
    print(f"{trained.trained_on} model: {path}")


def _kept(path: Path, asked: TrainedModel) -> TrainedModel:
    """Load a model that was trained before, if it is the one that is asked for."""
    kept = load_model(path)
    for name, value in {**asked.settings, "number of epochs": asked.epochs}.items():
        found = {**kept.settings, "number of epochs": kept.epochs}[name]
        if found != value:
            raise InputError(
                f"{path} was trained with {name} = {found}, not {value}: "
                "--overwrite trains it anew, another --results-dir keeps both"
            )
    print(f"{kept.trained_on} model: already trained, {path}")
    return kept


def print_accuracies(pair: dict[str, TrainedModel]) -> None:
    """Print the four accuracies as a table."""
    print(f"\naccuracy on {pair[ROTATED].test_samples} test samples   upright    rotated")
    for trained_on, trained in pair.items():
        upright, rotated = (f"{trained.accuracy[data]:8.2%}" for data in ("upright", "rotated"))
        print(f"  {trained_on + ' model':<34}{upright}   {rotated}")


if __name__ == "__main__":
    run(main)
