"""The steps to the tables of the paper, and which of them are done."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pytorch.datasets import dataset_name
from pytorch.datasets.dataset import subset_size
from pytorch.errors import FileError, InputError
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.recipes import Recipe, recipe_for
from pytorch.experiments.storage import load_model, load_values, model_file, values_file
from pytorch.experiments.trained_model import TrainedModel, weights_digest
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS, ROTATED, UNROTATED, UNTRAINED
from pytorch.report.published import AGGREGATIONS

TRAIN, MEASURE, DRAW = "experiment_rotation", "experiment_variance", "plot_variances_models"
"""The scripts."""

TRANSFORMATION, STEPS = "rotation", 16


@dataclass(frozen=True)
class Step:
    """One call of a script.

    Attributes:
        script: Name of the script, without ``.py``.
        title: Description for people.
        arguments: Arguments of the script.
        is_done: Function that returns whether the results exist, without loading the data set.
        needs: Title of the step that must come first.
    """

    script: str
    title: str
    arguments: list[str]
    is_done: Callable[[], bool]
    needs: str | None = None


@dataclass(frozen=True)
class Combination:
    """A model on a data set, with one training per seed.

    Attributes:
        model: Architecture, by name.
        dataset: Name or folder of the data set, as for ``load_dataset``.
        results_dir: Folder of the trained models and measurements.
        fingerprint: Fingerprint of the data set; see ``pytorch.datasets.Source``.
        seeds: Number of trainings, with seeds from 0.
        schedule: Fraction of the recipe's epochs to train for, at least one epoch.
        samples: Maximum number of samples of each split; None: all.
        test_samples: Maximum number of test samples to evaluate and measure; None: ``samples``.
        precision: Precision of the measurement.
        options: Options of all scripts: folders and device.
    """

    model: str
    dataset: str
    results_dir: Path
    fingerprint: str = ""
    seeds: int = 1
    schedule: float = 1
    samples: int | None = None
    test_samples: int | None = None
    precision: str = "fp32"
    options: Sequence[str] = field(default_factory=list)

    def steps(self) -> list[Step]:
        """List the steps: train, measure, and measure the control."""
        common = [self.model, self.dataset, *self.options]
        if self.seeds > 1:
            common += ["--seeds", str(self.seeds)]
        measure = [*common, *_option("--samples", self.test_samples or self.samples)]
        measure += ["--aggregation", ",".join(AGGREGATIONS), "--steps", str(STEPS), "--precision", self.precision]
        what = f"{self.model} on {dataset_name(self.dataset)}"
        samples = [*_option("--samples", self.samples), *_option("--test-samples", self.test_samples)]
        train = [*common, *samples, *self._epoch_options()]
        training = Step(TRAIN, f"train {what}", train, self._is_trained)
        return [
            training,
            Step(MEASURE, f"measure {what}", measure, lambda: self._is_measured(None), training.title),
            Step(
                MEASURE,
                f"measure {what} before its training",
                [*measure, "--control", RANDOM_WEIGHTS],
                lambda: self._is_measured(RANDOM_WEIGHTS),
                training.title,
            ),
        ]

    @property
    def recipe(self) -> Recipe:
        """The recipe with the epochs of the schedule."""
        recipe = recipe_for(self.model, dataset_name(self.dataset))
        unrotated, rotated = (max(1, round(self.schedule * each)) for each in (recipe.epochs, recipe.rotated_epochs))
        return recipe.with_options(unrotated, rotated, None)

    def _epoch_options(self) -> list[str]:
        if self.schedule == 1:
            return []
        return ["--epochs", str(self.recipe.epochs), "--rotated-epochs", str(self.recipe.rotated_epochs)]

    def _further_seeds(self) -> list[int | None]:
        return [None, *range(1, self.seeds)]

    def _models(self, further_seed: int | None) -> dict[str, TrainedModel]:
        place = self.results_dir, self.model, dataset_name(self.dataset)
        return {trained_on: load_model(model_file(*place, trained_on, further_seed)) for trained_on in PAIR}

    def _is_trained(self) -> bool:
        return all(self._is_as_asked(seed) for seed in self._further_seeds())

    def _is_as_asked(self, further_seed: int | None) -> bool:
        """Whether both models exist and were trained as asked, on this data set."""
        asked = Protocol({"model": self.model, "fingerprint of the data": self.fingerprint, "seed": further_seed or 0})
        with suppress(FileNotFoundError, FileError):
            return all(
                not model.protocol.differences(asked | self.recipe.settings(rotated=trained_on == ROTATED))
                and (model.trained_on, _samples(model)) == (trained_on, self.samples)
                and self._is_evaluated_enough(model)
                for trained_on, model in self._models(further_seed).items()
            )
        return False

    def _is_evaluated_enough(self, model: TrainedModel) -> bool:
        """Whether at least the required number of test samples was evaluated."""
        return model.test_limit is None or (self.test_samples is not None and self.test_samples <= model.test_limit)

    def _is_measured(self, control: str | None) -> bool:
        return all(
            self._is_as_asked(seed) and self._is_measurement_as_asked(control, seed) for seed in self._further_seeds()
        )

    def _is_measurement_as_asked(self, control: str | None, further_seed: int | None) -> bool:
        """Whether measurements of the existing models and of their test samples exist, made as asked."""
        place = self.results_dir, self.model, dataset_name(self.dataset), TRANSFORMATION
        with suppress(FileNotFoundError, FileError, InputError):
            models = self._models(further_seed)
            if control is None:
                weights = {name: weights_digest(model.weights) for name, model in models.items()}
            else:
                weights = {UNTRAINED: weights_digest(models[UNROTATED].network(trained=False).state_dict())}
            asked = Protocol(
                {
                    "control": control,
                    "samples": self._samples_to_measure(models[UNROTATED]),
                    "steps": STEPS,
                    "precision": self.precision,
                    "tolerance": None,
                    "weights": weights,
                }
            )
            pairs = {name: load_values(values_file(*place, name, control, further_seed)) for name in AGGREGATIONS}
            return not any(pair.protocol.differences(asked | {"aggregation": name}) for name, pair in pairs.items())
        return False

    def _samples_to_measure(self, model: TrainedModel) -> int:
        """Return the number of test samples to measure."""
        if self.test_samples is None or model.angle_curve is None:
            return model.test_samples
        return subset_size(model.angle_curve.counts, self.test_samples)


def _option(name: str, value: int | None) -> list[str]:
    return [] if value is None else [name, str(value)]


def _samples(model: TrainedModel) -> int | None:
    """Return the number of training samples if they are a selection; None: all samples."""
    return None if model.samples_seed is None else model.samples
