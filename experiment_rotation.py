#!/usr/bin/env python3
"""Train the two models of a pair: one on upright samples, one on randomly rotated samples.

    python experiment_rotation.py resnet cifar10

Evaluates both on the test set: upright, rotated (a fixed angle per image), and at every multiple of 15°. On a CPU
this takes as long as an epoch or two; --test-samples 2000 shortens it.
Writes the models to <results-dir>/models/<model>_<dataset>/{unrotated,rotated}.pt. Draws the training curves, the four
accuracies and accuracy against angle into <plots-dir>/<model>_<dataset>/.

Every epoch ends with a checkpoint. After any interruption the same command continues; on a CPU the final weights are
the same as without the interruption. Existing models are not trained again. --keep-epochs keeps the weights of epochs,
so that experiment_variance.py --while-training can measure them.

torchrun shares each batch among several processes, each on a core or a GPU of its own:

    torchrun --nproc-per-node 2 experiment_rotation.py resnet cifar10

Expect the unrotated model to fail on rotated data, and the rotated one to do nearly as well on both. On two CPU
cores simple_conv takes one minute on digits and eight on mnist; deeper models take up to two hours.
"""

import argparse
from functools import partial
from pathlib import Path

from pytorch.datasets import dataset_name, load_dataset
from pytorch.files.lock import sole_run
from pytorch.scripts.options import Parser, add_training_options, check_writable, experiment_parser, parse
from pytorch.scripts.script import run, start


def _parser() -> Parser:
    parser = experiment_parser(__doc__.splitlines()[0])
    add_training_options(parser)
    return parser


if __name__ == "__main__":
    start(_parser())

from pytorch.experiments.pair_replacement import run_pairs, settle, take_part
from pytorch.experiments.pair_training import PairTraining
from pytorch.experiments.recipes import recipe_for
from pytorch.experiments.storage import model_folder, pair_name
from pytorch.experiments.summary import print_accuracies
from pytorch.experiments.torchrun import first_then_others, is_first, torchrun_group
from pytorch.figures import accuracy_figure, angle_figure, save_figure, training_figure


@torchrun_group()
def main(arguments: list[str] | None = None) -> None:
    """Run the experiment with the given command line."""
    options = parse(_parser(), arguments)
    if not is_first():
        take_part(first_then_others(partial(_trainings, options)))
        return
    name = dataset_name(options.dataset)
    folder = model_folder(options.results_dir, options.model, name)
    plots = options.plots_dir / pair_name(options.model, name)
    for place in (folder, plots):
        check_writable(place)
    with sole_run(folder / ".lock", f"training {options.model} on {name}"):
        _train(options, folder, plots)


def _train(options: argparse.Namespace, folder: Path, plots: Path) -> None:
    """Train the requested pairs that are missing, and draw the figures of all."""
    trainings = first_then_others(partial(_trainings, options))
    pairs = run_pairs(trainings)
    print_accuracies(pairs)
    figures = {
        "training": training_figure(pairs[0]),
        "accuracy": accuracy_figure(pairs),
        "angles": angle_figure(pairs),
    }
    for name, figure in figures.items():
        print(f"figure: {save_figure(figure, plots / f'{name}.png')}")
    settle(folder)


def _trainings(options: argparse.Namespace) -> list[PairTraining]:
    """Load the data, and list the trainings, one for each seed."""
    dataset = load_dataset(options.dataset, options.data_dir, options.samples, options.seed, options.test_samples)
    recipe = recipe_for(options.model, dataset.name).with_options(
        options.epochs, options.rotated_epochs, options.batch_size
    )
    if is_first():
        print(f"{dataset.name}: {len(dataset.train)} training samples, {len(dataset.test)} test samples")
    return [
        PairTraining(
            model=options.model,
            dataset=dataset,
            recipe=recipe,
            seed=seed,
            precision=options.precision,
            device=options.device,
            folder=model_folder(
                options.results_dir, options.model, dataset.name, None if seed == options.seed else seed
            ),
            overwrite=options.overwrite,
            keep_every=options.keep_epochs,
            label=f"seed {seed}, " if options.seeds > 1 else "",
        )
        for seed in range(options.seed, options.seed + options.seeds)
    ]


if __name__ == "__main__":
    run(main)
