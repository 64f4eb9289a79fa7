"""Training the two models of a pair: begun, taken up where it was left, and put in the place of an older one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pytorch.datasets import Dataset
from pytorch.errors import InputError
from pytorch.evaluation import Evaluator
from pytorch.experiment import PAIR, ROTATED, TrainedModel, initial_network, versions
from pytorch.precision import usual_precision
from pytorch.recipes import Recipe
from pytorch.storage import load_checkpoint, load_model, save_checkpoint, save_model
from pytorch.training import Training


@dataclass(frozen=True)
class PairTraining:
    """What pair to train, and where it is kept.

    After each epoch a checkpoint is written, from which the same call continues after whatever stopped it.

    Attributes:
        model: Architecture, by name.
        dataset: Its training split is trained on, its test split is evaluated on.
        recipe: How.
        seed: Of weights, orders, angles and dropout.
        precision: In what the training computes; None: what suits the device, or what is there was trained in.
        device: Where to compute.
        folder: Where the two models are kept.
        overwrite: Whether to train anew what is there; the old pair stays until the new one is complete.
        say: Told, line by line, what happens.
    """

    model: str
    dataset: Dataset
    recipe: Recipe
    seed: int
    precision: str | None
    device: torch.device
    folder: Path
    overwrite: bool
    say: Callable[[str], None] = print

    def run(self) -> dict[str, TrainedModel]:
        """Load what is there, and train, evaluate and save the rest.

        Raises:
            InputError: What is there was trained otherwise.
            TrainingError: The training came to nothing.
        """
        kept = {trained_on: self._kept(trained_on) for trained_on in PAIR}
        pair = {trained_on: kept[trained_on] or self._trained(trained_on) for trained_on in PAIR}
        for trained_on in PAIR if self.overwrite else ():
            self._target(trained_on).replace(self._file(trained_on))
            self.say(f"{trained_on} model: {self._file(trained_on)}")
        return pair

    def _file(self, trained_on: str) -> Path:
        return self.folder / f"{trained_on}.pt"

    def _target(self, trained_on: str) -> Path:
        """Where a model is put when it is done: in its place, or beside the old one until its partner is done too."""
        return self._file(trained_on).with_suffix(".new") if self.overwrite else self._file(trained_on)

    def _checkpoint(self, trained_on: str) -> Path:
        return self.folder / f"{trained_on}.checkpoint"

    def _kept(self, trained_on: str) -> TrainedModel | None:
        """Load the model if it is there."""
        path = self._target(trained_on)
        if not path.exists():
            return None
        kept, asked = load_model(path), settings(self._untrained(trained_on))
        if self.precision is None:
            asked["precision"] = kept.precision
        differs = difference(settings(kept), asked)
        if not differs:
            self.say(f"{trained_on} model: already trained, {path}")
            self._forget_checkpoint(kept)
            return kept
        if self.overwrite:
            return None
        raise InputError(
            f"{path} was trained with {differs}: --overwrite trains it anew, another --results-dir keeps both"
        )

    def _forget_checkpoint(self, finished: TrainedModel) -> None:
        """Remove the checkpoint that a finished model came from, if it is still there; others are not touched."""
        path = self._checkpoint(finished.trained_on)
        if path.exists() and load_checkpoint(path)[0] == settings(finished):
            path.unlink()

    def _trained(self, trained_on: str) -> TrainedModel:
        """Train, evaluate and save the model."""
        trained = self._train(self._untrained(trained_on))
        path = self._target(trained_on)
        save_model(path, trained)
        self._checkpoint(trained_on).unlink(missing_ok=True)
        if not self.overwrite:
            self.say(f"{trained_on} model: {path}")
        return trained

    def _train(self, asked: TrainedModel) -> TrainedModel:
        """Train from the beginning, or from the last checkpoint, and evaluate."""
        network = initial_network(self.model, asked.channels, len(asked.classes), self.seed).to(self.device)
        training = Training(
            network, self.dataset.train, asked.normalization, self.recipe,
            rotated=asked.trained_on == ROTATED, seed=self.seed, device=self.device, precision=asked.precision,
        )  # fmt: skip
        self._resume(training, asked)
        name = f"{asked.trained_on} model"
        while len(training.history) < training.epochs:
            training.run_epoch(name)
            save_checkpoint(self._checkpoint(asked.trained_on), settings(asked), training.state_dict())
        evaluator = Evaluator(
            self.dataset.test, len(asked.classes), asked.normalization, self.recipe.batch_size, self.device,
            asked.precision,
        )  # fmt: skip
        return replace(
            asked,
            history=training.history,
            accuracy=evaluator.accuracies(network),
            angle_curve=evaluator.angle_curve(network, f"{name}, accuracy against angle"),
            weights={name: value.cpu() for name, value in network.state_dict().items()},
        )

    def _resume(self, training: Training, asked: TrainedModel) -> None:
        """Take up the training where its last checkpoint left it, if there is one."""
        path = self._checkpoint(asked.trained_on)
        if not path.exists():
            return
        begun, state = load_checkpoint(path)
        differs = difference(begun, settings(asked))
        if not differs:
            training.load_state_dict(state)
            self.say(f"{asked.trained_on} model: taken up after epoch {len(training.history)}, {path}")
        elif not self.overwrite:
            raise InputError(
                f"{path} is of a training under way with {differs}: finish that one, or begin anew with --overwrite"
            )

    def _untrained(self, trained_on: str) -> TrainedModel:
        """What will be trained, so far without weights."""
        return TrainedModel(
            model=self.model,
            dataset=self.dataset.name,
            trained_on=trained_on,
            channels=self.dataset.train.images.shape[1],
            classes=self.dataset.classes,
            normalization=self.dataset.normalization,
            recipe=self.recipe,
            precision=self.precision or usual_precision(self.device),
            seed=self.seed,
            samples=len(self.dataset.train),
            history=[],
            accuracy={},
            angle_curve=None,
            test_samples=len(self.dataset.test),
            weights={},
            versions=versions(),
            fingerprint=self.dataset.source.fingerprint,
        )


def settings(trained: TrainedModel) -> dict[str, Any]:
    """What the weights of a model follow from."""
    return {**trained.settings, "number of epochs": trained.epochs}


def difference(found: dict[str, Any], asked: dict[str, Any]) -> str:
    """Say in what two settings differ; empty if in nothing.

    >>> difference({"seed": 0, "batch size": 64}, {"seed": 1, "batch size": 64})
    'seed = 0, not 1'
    """
    return "; ".join(
        f"{name} = {found.get(name)}, not {value}" for name, value in asked.items() if found.get(name) != value
    )
