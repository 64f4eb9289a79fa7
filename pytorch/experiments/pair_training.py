"""Training of a pair of models, which can be interrupted and continued."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pytorch.datasets.dataset import Dataset
from pytorch.errors import FileError, InputError, TrainingError
from pytorch.experiments.evaluation import Evaluator
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.provenance import machine, now, running_commit, versions
from pytorch.experiments.recipes import Recipe
from pytorch.experiments.storage import (
    epoch_file,
    epochs_folder,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)
from pytorch.experiments.summary import epoch_line
from pytorch.experiments.torchrun import from_first
from pytorch.experiments.trained_model import TrainedModel, initial_network
from pytorch.experiments.training import Training
from pytorch.experiments.vocabulary import PAIR, ROTATED
from pytorch.names import PRECISIONS
from pytorch.variance.precision import usual_precision

Pair = dict[str, TrainedModel]

MB = 10**6


@dataclass(frozen=True)
class PairTraining:
    """A pair of models to train, and its place.

    Each epoch ends with a checkpoint, from which the same call continues after any interruption.

    Attributes:
        model: Architecture, by name.
        dataset: Data set with the training split and, for the evaluation, the test split.
        recipe: Settings of the training.
        seed: Random seed for weights, sample orders, angles and dropout.
        precision: Precision of training and evaluation; None: that of an existing model, or the usual one for the
            device.
        device: Device to compute on.
        folder: Folder of the two models.
        overwrite: Whether to train existing models again; the new ones get other names until both are complete.
        keep_every: Number of epochs after each of which the weights are kept, or None: they are not.
        label: Prefix for the names of the models in messages.
        say: Function that prints one line of progress.
    """

    model: str
    dataset: Dataset
    recipe: Recipe
    seed: int
    precision: str | None
    device: torch.device
    folder: Path
    overwrite: bool
    keep_every: int | None = None
    label: str = ""
    say: Callable[[str], None] = print

    def run(self) -> Pair:
        """Load existing models, and train, evaluate and save the others.

        Raises:
            InputError: An existing model was trained with other settings.
            TrainingError: The training failed.
        """
        decided = self.decided()
        kept = {trained_on: decided.kept(trained_on) for trained_on in PAIR}
        self._tell_size([trained_on for trained_on in PAIR if kept[trained_on] is None])
        return {trained_on: kept[trained_on] or decided.train(trained_on) for trained_on in PAIR}

    def decided(self) -> "PairTraining":
        """Return the same training with a decided precision."""
        return replace(self, precision=self.precision or self._found_precision() or usual_precision(self.device))

    def kept(self, trained_on: str) -> TrainedModel | None:
        """Load a model of the pair; None if it does not exist, or is to be trained again.

        Raises:
            InputError: The existing model was trained with other settings.
        """
        path = self._target(trained_on)
        kept = self._load(path)
        if kept is None:
            return None
        asked = self._untrained(trained_on)
        if kept.trained_on != trained_on and not self.overwrite:
            raise InputError(
                f"{path} holds the {kept.trained_on} model: it was moved there; --overwrite trains it again"
            )
        evaluated = min(kept.test_samples, asked.test_samples)  # more are as good
        differs = (kept.protocol | {"test samples": evaluated}).differences(
            asked.protocol | {"test samples": asked.test_samples}
        ) or self._missing(trained_on)
        if self.overwrite and (differs or kept.versions != asked.versions or kept.trained_on != trained_on):
            return None
        if differs:
            raise InputError(
                f"{path} was trained with {differs}: --overwrite trains it again, another --results-dir keeps both"
            )
        self.say(f"{self._name(trained_on)}: already trained, {path}")
        with suppress(FileNotFoundError, FileError):  # left if a kill came between saving the model and removing it
            if load_checkpoint(self._checkpoint(trained_on))[0] == self._under_way(kept):
                self._checkpoint(trained_on).unlink()
        return kept

    def train(self, trained_on: str) -> TrainedModel:
        """Train a model of the pair from the beginning or from its last checkpoint, evaluate it and save it."""
        asked = self._untrained(trained_on)
        training = self._training(asked)
        self._resume(training, asked)
        name, under_way, network = self._name(trained_on), self._under_way(asked), training.model
        state = training.state_dict() if training.history else None
        from_first(lambda: (self.seed, trained_on, under_way.settings, state))
        training.share()
        epochs = epochs_folder(self._target(trained_on))
        if not training.history:
            shutil.rmtree(epochs, ignore_errors=True)
        if self.overwrite and epochs_folder(self.folder / f"{trained_on}.pt").exists():
            epochs.mkdir(exist_ok=True)  # even an empty one replaces the old
        while len(training.history) < training.epochs:
            epoch = training.run_epoch(name)
            state = training.state_dict()
            if len(training.history) in self._epochs_to_keep(trained_on):
                kept = {name: state[name] for name in ("weights", "history")}
                save_checkpoint(epoch_file(self._target(trained_on), len(training.history)), under_way, kept)
            save_checkpoint(self._checkpoint(trained_on), under_way, state)
            self.say(f"{name}: {epoch_line(len(training.history), training.epochs, epoch, asked.samples)}")
        evaluator = Evaluator(
            self.dataset.test, len(asked.classes), asked.normalization, self.recipe.batch_size, self.device,
            asked.precision,
        )  # fmt: skip
        trained = replace(
            asked,
            history=training.history,
            accuracy=evaluator.accuracies(network),
            angle_curve=evaluator.angle_curve(network, f"{name}, accuracy against angle"),
            weights={name: value.cpu() for name, value in network.state_dict().items()},
            machine=machine(self.device),
            date=now(),
            commit=running_commit(),
        )
        save_model(self._target(trained_on), trained)
        self._checkpoint(trained_on).unlink(missing_ok=True)
        place = self._target(trained_on).with_suffix(".pt")
        self.say(f"{name}: {place}{', once both are trained' if self.overwrite else ''}")
        return trained

    def take_part(self, trained_on: str, under_way: Protocol, state: dict[str, Any] | None) -> None:
        """Train a model of the pair along with rank 0, which reads and writes all files.

        Args:
            trained_on: Kind of training samples.
            under_way: What rank 0 trains.
            state: State of the training to continue; None: it begins.

        Raises:
            InputError: This process has other data or versions.
            RankError: Another process has stopped.
        """
        here = replace(self, precision=under_way.settings["precision"])
        asked = here._untrained(trained_on)
        if differs := under_way.differences(here._under_way(asked)):
            raise InputError(f"rank 0 trains with {differs}: all processes need the same data, options and versions")
        training = here._training(asked)
        if state is not None:
            training.load_state_dict(state)
        training.share()
        while len(training.history) < training.epochs:
            training.run_epoch()

    def _training(self, asked: TrainedModel) -> Training:
        """Return the training of a model at its beginning."""
        network = initial_network(self.model, asked.channels, len(asked.classes), self.seed).to(self.device)
        return Training(
            network, self.dataset.train, asked.normalization, self.recipe,
            rotated=asked.trained_on == ROTATED, seed=self.seed, device=self.device, precision=asked.precision,
        )  # fmt: skip

    def _name(self, trained_on: str) -> str:
        return f"{self.label}{trained_on} model"

    def _target(self, trained_on: str) -> Path:
        """Return the path of a complete model."""
        return self.folder / f"{trained_on}{'.new' if self.overwrite else '.pt'}"

    def _checkpoint(self, trained_on: str) -> Path:
        return self.folder / f"{trained_on}.checkpoint"

    def _epochs_to_keep(self, trained_on: str) -> range:
        """Epochs whose weights are kept, without the last, which are those of the model."""
        epochs = self.recipe.epochs_of(rotated=trained_on == ROTATED)
        return range(self.keep_every, epochs, self.keep_every) if self.keep_every else range(0)

    def _missing(self, trained_on: str) -> str:
        """Name the first epoch that is to be kept and was not; empty if there is none."""
        target = self._target(trained_on)
        missing = (epoch for epoch in self._epochs_to_keep(trained_on) if not epoch_file(target, epoch).exists())
        return next((f"the weights of epoch {epoch} not kept" for epoch in missing), "")

    def _tell_size(self, models: Sequence[str]) -> None:
        """Say how much disk the kept epochs of some models will take."""
        files = sum(len(self._epochs_to_keep(trained_on)) for trained_on in models)
        if files:
            asked = self._untrained(models[0])
            with torch.device("meta"):
                network = initial_network(self.model, asked.channels, len(asked.classes), self.seed)
            size = sum(values.nbytes for values in network.state_dict().values()) / MB
            count = f"{files} epoch{'s' * (files > 1)} of {size:.3g} MB"
            self.say(f"{self.label}keeping {count}, {files * size:,.0f} MB in all, {self.folder}")

    def _load(self, path: Path) -> TrainedModel | None:
        """Load a model if it exists; ``overwrite`` ignores unreadable ones."""
        with suppress(FileNotFoundError):
            try:
                return load_model(path)
            except FileError as error:
                if not self.overwrite:
                    raise FileError(f"{error}; --overwrite makes it again") from error
        return None

    def _found_precision(self) -> str | None:
        """Return the precision that an existing model or checkpoint of the pair was trained in."""
        for trained_on in PAIR:
            kept = self._load(self._target(trained_on))
            if kept is not None:
                return kept.precision
        for trained_on in PAIR:
            with suppress(FileNotFoundError, FileError, KeyError):
                precision = load_checkpoint(self._checkpoint(trained_on))[0].settings["precision"]
                return precision if precision in PRECISIONS else None
        return None

    def _resume(self, training: Training, asked: TrainedModel) -> None:
        """Continue the training from its last checkpoint, if there is one."""
        path = self._checkpoint(asked.trained_on)
        try:
            begun, state = load_checkpoint(path)
        except FileNotFoundError:
            return
        except FileError:
            if self.overwrite:
                return
            raise
        differs = begun.differences(self._under_way(asked))
        if not differs:
            try:
                training.load_state_dict(state)
            except TrainingError as error:
                raise FileError(f"{path} cannot be continued: {error}; remove it") from error
            self.say(f"{self._name(asked.trained_on)}: continued after epoch {len(training.history)}, {path}")
        elif not self.overwrite:
            raise InputError(
                f"{path} is of an unfinished training with {differs}: finish that one, or start again with --overwrite"
            )

    def _under_way(self, asked: TrainedModel) -> Protocol:
        """Return everything that must be the same to continue a training."""
        return asked.protocol | {"versions": asked.versions, "--keep-epochs": self.keep_every}

    def _untrained(self, trained_on: str) -> TrainedModel:
        """Describe the model to train, without weights."""
        return TrainedModel(
            model=self.model,
            dataset=self.dataset.name,
            trained_on=trained_on,
            channels=self.dataset.train.images.shape[1],
            classes=self.dataset.classes,
            normalization=self.dataset.normalization,
            recipe=self.recipe,
            precision=self.precision,
            seed=self.seed,
            samples=len(self.dataset.train),
            samples_seed=None if self.dataset.samples is None else self.dataset.seed,
            history=[],
            accuracy={},
            angle_curve=None,
            test_samples=len(self.dataset.test),
            weights={},
            versions=versions(),
            fingerprint=self.dataset.source.fingerprint,
            test_limit=self.dataset.test_samples,
        )
