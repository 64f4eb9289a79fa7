"""How far the trainings and measurements of a model on a data set are, and whether they were made as asked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import median

from pytorch.datasets import dataset_name
from pytorch.datasets.dataset import subset_size
from pytorch.errors import FileError, InputError
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.provenance import versions
from pytorch.experiments.published import AGGREGATIONS
from pytorch.experiments.recipes import Recipe, recipe_for
from pytorch.experiments.storage import load_checkpoint, load_model, load_values, model_file, values_file
from pytorch.experiments.trained_model import TrainedModel, weights_digest
from pytorch.experiments.training import Epoch, recorded_epochs
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS, ROTATED, UNROTATED, UNTRAINED
from pytorch.files.checked_fields import demand
from pytorch.names import POSITIONS, kinds_of
from pytorch.variance.equivariance import EquivarianceResult

TRANSFORMATION, STEPS = "rotation", 16


@dataclass(frozen=True)
class Training:
    """How far the training of one model is.

    Attributes:
        epochs: Number of epochs asked for.
        done: Number of epochs trained as asked, also in an unfinished training.
        complete: Whether the model is trained and evaluated as asked.
        differs: How a model or an unfinished training that is in the way differs from what is asked; empty: none is.
        seconds: Wall times of epochs on this machine; those of an unfinished training may be of another one.
    """

    epochs: int
    done: int = 0
    complete: bool = False
    differs: str = ""
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """How far the measurement of both models of a pair, or of a control, is.

    Attributes:
        asked: Aggregations asked for; of equivariance, ``"same-equivariance"``.
        done: Those measured as asked.
        differs: By aggregation, how a file that does not count differs from what is asked.
        seconds: Wall times on this machine, each of all aggregations of one command.
    """

    asked: tuple[str, ...]
    done: tuple[str, ...] = ()
    differs: dict[str, str] = field(default_factory=dict)
    seconds: tuple[float, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all aggregations are measured as asked."""
        return self.done == self.asked


@dataclass(frozen=True)
class PairStanding:
    """How far a pair of models is.

    Attributes:
        seed: Random seed of the training.
        trainings: Training of each model of ``PAIR``.
        measurements: Measurement of the pair, by None, and of the control ``RANDOM_WEIGHTS``.
    """

    seed: int
    trainings: dict[str, Training]
    measurements: dict[str | None, Measurement]

    @property
    def is_trained(self) -> bool:
        """Whether both models are trained as asked."""
        return all(training.complete for training in self.trainings.values())

    @property
    def differs(self) -> dict[str, str]:
        """By name, how trainings and measurements that do not count differ from what is asked."""
        named = {f"{trained_on} model": training.differs for trained_on, training in self.trainings.items()}
        for control, measurement in self.measurements.items():
            when = " before training" if control else ""
            named |= {f"{name}{when}": differs for name, differs in measurement.differs.items()}
        return {name: differs for name, differs in named.items() if differs}


@dataclass(frozen=True)
class Standing:
    """How far a model on a data set is: its pairs, one per seed."""

    pairs: list[PairStanding]

    def training_left(self, pairs: Iterable[PairStanding]) -> float | None:
        """Return the seconds of the epochs left to some pairs; None: unknown."""
        return _total(
            (training.epochs - training.done, self._known(lambda pair, name=name: pair.trainings[name].seconds))
            for pair in pairs
            for name, training in pair.trainings.items()
        )

    def measuring_left(self, control: str | None, pairs: Iterable[PairStanding]) -> float | None:
        """Return the seconds of the measurements left to some pairs; None: unknown."""
        known = self._known(lambda pair: pair.measurements[control].seconds)
        return _total((int(not pair.measurements[control].complete), known) for pair in pairs)

    def left(self, pair: PairStanding) -> float | None:
        """Return the seconds left to a pair; None: unknown."""
        parts = self.training_left([pair]), *(self.measuring_left(control, [pair]) for control in pair.measurements)
        return None if None in parts else sum(parts)

    def _known(self, seconds: Callable[[PairStanding], tuple[float, ...]]) -> list[float]:
        return [each for pair in self.pairs for each in seconds(pair)]


def _total(work: Iterable[tuple[int, list[float]]]) -> float | None:
    """Add up counts of parts times the median of known seconds; None: some have none."""
    left = [(count, known) for count, known in work if count]
    return sum(count * median(known) for count, known in left) if all(known for _, known in left) else None


@dataclass(frozen=True)
class Combination:
    """What is asked for: a model on a data set, with one training per seed.

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
        measure: A name of ``MEASURES``.
        machine: Processor to compute on.
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
    measure: str = "invariance"
    machine: str = ""

    @property
    def title(self) -> str:
        """The model and the data set."""
        return f"{self.model} on {dataset_name(self.dataset)}"

    @property
    def recipe(self) -> Recipe:
        """The recipe with the epochs of the schedule."""
        recipe = recipe_for(self.model, dataset_name(self.dataset))
        unrotated, rotated = (max(1, round(self.schedule * each)) for each in (recipe.epochs, recipe.rotated_epochs))
        return recipe.with_options(unrotated, rotated, None)

    def standing(self) -> Standing:
        """Read how far everything is, without loading the data set."""
        return Standing([self._pair(further_seed) for further_seed in (None, *range(1, self.seeds))])

    def _pair(self, further_seed: int | None) -> PairStanding:
        read = {trained_on: self._training(trained_on, further_seed) for trained_on in PAIR}
        trainings = {trained_on: training for trained_on, (training, _) in read.items()}
        models = {trained_on: model for trained_on, (_, model) in read.items() if trainings[trained_on].complete}
        measurements = {control: self._measurement(control, models, further_seed) for control in (None, RANDOM_WEIGHTS)}
        return PairStanding(further_seed or 0, trainings, measurements)

    def _training(self, trained_on: str, further_seed: int | None) -> tuple[Training, TrainedModel | None]:
        """Return how far a model is and, if it can be read, the model."""
        path = model_file(self.results_dir, self.model, dataset_name(self.dataset), trained_on, further_seed)
        asked = self._training_asked(trained_on, further_seed)
        epochs = self.recipe.epochs_of(rotated=trained_on == ROTATED)
        try:
            model = load_model(path)
        except FileNotFoundError:
            history, differs = _under_way(path, asked)
            return Training(epochs, len(history), differs=differs, seconds=_seconds(history)), None
        except FileError as error:
            return Training(epochs, differs=str(error)), None
        found = _made(model.protocol) | {"trained on": model.trained_on, "test samples": self._evaluated(model)}
        whole = asked | {"trained on": trained_on, "test samples": _limit(self.test_samples)}
        # Other numbers of epochs and of test samples do not change how long an epoch takes.
        comparable = model.machine == self.machine and not found.differences(whole, ignore=["epochs", "test samples"])
        seconds = _seconds(model.history) if comparable else ()
        if differs := found.differences(whole):
            history = _replacing(path, asked, trained_on)
            return Training(epochs, len(history), differs=differs, seconds=seconds or _seconds(history)), model
        return Training(epochs, epochs, complete=True, seconds=seconds), model

    def _training_asked(self, trained_on: str, further_seed: int | None) -> Protocol:
        names = {"model": self.model, "fingerprint of the data": self.fingerprint, "seed": further_seed or 0}
        recipe = self.recipe.settings(rotated=trained_on == ROTATED)
        return Protocol({**names, **recipe, "samples": _limit(self.samples)})

    def _evaluated(self, model: TrainedModel) -> int | str:
        """Return the limit on evaluated test samples; that asked for, if the model's is as good."""
        limit = model.test_limit
        enough = limit is None or (self.test_samples is not None and self.test_samples <= limit)
        return _limit(self.test_samples if enough else limit)

    def _measurement(
        self, control: str | None, models: dict[str, TrainedModel], further_seed: int | None
    ) -> Measurement:
        """Return which measurements of the complete models and of their test samples exist, made as asked."""
        place = self.results_dir, self.model, dataset_name(self.dataset), TRANSFORMATION
        done, differs, seconds = [], {}, []
        kinds = kinds_of(self.measure, AGGREGATIONS)
        for name in kinds:
            try:
                pair = load_values(values_file(*place, name, control, further_seed))
                asked = self._measurement_asked(control, models) | {"aggregation": name}
                if isinstance(pair.any_result, EquivarianceResult):
                    asked |= {"positions": pair.any_result.positions_for(POSITIONS)}
            except FileNotFoundError:
                continue
            except (FileError, InputError) as error:
                differs[name] = str(error)
                continue
            how = pair.protocol.differences(asked, ignore=["weights"])
            if not how and pair.machine == self.machine:
                seconds.append(pair.seconds)
            if pair.protocol.differences(asked, only=["weights"]):
                how = "; ".join(filter(None, [how, "its models have been replaced since"]))
            if how:
                differs[name] = how
            else:
                done.append(name)
        return Measurement(tuple(kinds), tuple(done), differs, tuple(seconds))

    def _measurement_asked(self, control: str | None, models: dict[str, TrainedModel]) -> Protocol:
        """Return the protocol of a measurement of two models.

        Raises:
            InputError: One of the models is missing, or has weights that do not fit.
        """
        if models.keys() != set(PAIR):
            raise InputError("its models are not trained as asked")
        if control is None:
            weights = {name: weights_digest(model.weights) for name, model in models.items()}
        else:
            weights = {UNTRAINED: weights_digest(models[UNROTATED].network(trained=False).state_dict())}
        return Protocol(
            {
                "control": control,
                "samples": self._samples_to_measure(models[UNROTATED]),
                "steps": STEPS,
                "precision": self.precision,
                "tolerance": None,
                "weights": weights,
            }
        )

    def _samples_to_measure(self, model: TrainedModel) -> int:
        """Return the number of test samples to measure."""
        if self.test_samples is None or model.angle_curve is None:
            return model.test_samples
        return subset_size(model.angle_curve.counts, self.test_samples)


def _made(protocol: Protocol) -> Protocol:
    """Return the protocol of a training, with the limit on its samples."""
    selected = protocol.settings.get("seed of their choice") is not None
    return protocol | {"samples": _limit(protocol.settings.get("training samples") if selected else None)}


def _limit(samples: int | None) -> int | str:
    return "all" if samples is None else samples


def _under_way(model: Path, asked: Protocol) -> tuple[list[Epoch], str]:
    """Return the epochs of the unfinished training of a model, or how it differs from what is asked."""
    path = model.with_suffix(".checkpoint")
    try:
        protocol, state = load_checkpoint(path)
        history = recorded_epochs(state)
        demand(len(history) <= asked.settings["epochs"], f"it has {len(history)} epochs")
    except FileNotFoundError:
        return [], ""
    except FileError as error:
        return [], str(error)
    except (TypeError, KeyError, ValueError) as error:
        return [], f"{path} cannot be continued ({error}): remove it"
    differs = _made(protocol).differences(asked | {"versions": versions(), "--keep-epochs": None})
    return ([], f"an unfinished training with {differs}") if differs else (history, "")


def _replacing(model: Path, asked: Protocol, trained_on: str) -> list[Epoch]:
    """Return the epochs that ``--overwrite`` has trained as asked, to replace a model."""
    try:
        new = load_model(model.with_suffix(".new"))
    except (FileNotFoundError, FileError):
        return _under_way(model, asked)[0]
    fits = new.trained_on == trained_on and not _made(new.protocol).differences(asked)
    return new.history if fits else []


def _seconds(history: list[Epoch]) -> tuple[float, ...]:
    return tuple(epoch.seconds for epoch in history if 0 <= epoch.seconds < inf)
