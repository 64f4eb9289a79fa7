"""Read a results folder for drawing; a file that cannot be read stops no other."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pytorch.errors import FileError, InputError
from pytorch.experiments.pair_replacement import check_settled
from pytorch.experiments.provenance import file_digest
from pytorch.experiments.storage import (
    load_model,
    load_series,
    load_values,
    model_folders,
    pair_name,
    seed_folders,
    series_folder,
    values_files,
    values_folder,
)
from pytorch.experiments.trained_model import TrainedModel, check_same_settings, weights_digest
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.variance_series import VarianceSeries
from pytorch.experiments.vocabulary import CONTROLS, PAIR, UNROTATED
from pytorch.names import AGGREGATIONS
from pytorch.report.controls import controls_of


@dataclass(frozen=True)
class Measured:
    """A measurement and the digest of its file."""

    pair: VariancePair
    digest: str


@dataclass(frozen=True)
class Followed:
    """A measurement while training and the digest of its file."""

    series: VarianceSeries
    digest: str

    @property
    def pair(self) -> VariancePair:
        """The measurement of the trained models."""
        return self.series.pair


@dataclass(frozen=True)
class Trained:
    """The trained pairs of one model and data set, one per seed, without their weights.

    Attributes:
        folder: Folder of the first pair, the one that is drawn.
        pairs: The first pair, then those of other seeds with the same training.
        weights: Digests of the first pair's weights.
        digests: Digests of all files.
    """

    folder: Path
    pairs: list[dict[str, TrainedModel]]
    weights: dict[str, str]
    digests: list[str]


Read = TypeVar("Read", Measured, Followed)


@dataclass(frozen=True)
class Findings:
    """The content of a results folder.

    Attributes:
        measured: Measurements and controls of the first seed.
        trained: Trained pairs by (model, data set).
        errors: One line per file that cannot be read.
        notes: One line per folder that is ignored.
        repeats: Measurements of other seeds.
        followed: Measurements while training.
    """

    measured: list[Measured] = field(default_factory=list)
    trained: dict[tuple[str, str], Trained] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repeats: list[VariancePair] = field(default_factory=list)
    followed: list[Followed] = field(default_factory=list)

    @property
    def pairs(self) -> list[VariancePair]:
        """The results of ``measured``."""
        return [measured.pair for measured in self.measured]

    def controls(self, pair: VariancePair) -> list[Measured]:
        """Return the controls of a measurement, in the order of ``CONTROLS``."""
        found = controls_of(pair, self.pairs)
        wanted = [found[name] for name in CONTROLS if name in found]
        return [measured for control in wanted for measured in self.measured if measured.pair is control]

    def controlled_by(self, control: Measured) -> Measured | None:
        """Return the measurement that a control belongs to; None: it is no control, or there is none."""
        ordinary = (measured for measured in self.measured if control.pair.control and not measured.pair.control)
        return next((each for each in ordinary if any(one is control for one in self.controls(each.pair))), None)

    def outdated(self, pair: VariancePair) -> bool:
        """Whether the models of a measurement have been trained again since."""
        trained = self.trained.get((pair.model, pair.dataset))
        return trained is not None and pair.control is None and trained.weights != pair.weights


def find_results(results_dir: Path) -> Findings:
    """Read all measurements and trained pairs of a results folder.

    Raises:
        FileError: The folder of measurements cannot be read.
    """
    found = Findings()
    found.measured.extend(_measured(values_folder(results_dir), found.errors, _read_values))
    for folder in seed_folders(values_folder(results_dir)):
        found.repeats.extend(measured.pair for measured in _measured(folder, found.errors, _read_values))
    found.followed.extend(_measured(series_folder(results_dir), found.errors, _read_series))
    try:
        folders = model_folders(results_dir)
    except FileError as error:
        folders = []
        found.errors.append(str(error))
    for folder in folders:
        _add_trained(found, folder)
    return found


def _read_values(path: Path) -> Measured:
    return Measured(load_values(path), file_digest(path))


def _read_series(path: Path) -> Followed:
    return Followed(load_series(path), file_digest(path))


def _measured(folder: Path, errors: list[str], read: Callable[[Path], Read]) -> list[Read]:
    """Read the measurements of a folder, in order; add an error for each file that cannot be used."""
    found: list[Read] = []
    files: dict[tuple, Path] = {}
    for path in values_files(folder):
        try:
            measured = read(path)
        except (FileError, OSError) as error:
            errors.append(_message(error))
            continue
        other = files.setdefault(_order(measured), path)
        if other == path:
            found.append(measured)
        else:
            errors.append(f"{path} is ignored: it holds the same measurement as {other}; remove one of them")
    return sorted(found, key=_order)


def _message(error: FileError | OSError) -> str:
    """Say in one line what is wrong with a file, which another process may have removed."""
    return f"{error.filename} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def _add_trained(found: Findings, folder: Path) -> None:
    """Add the pair in a folder, if it is complete, and the pairs of other seeds in its subfolders."""
    trained = None
    try:
        check_settled(folder)
    except FileError as error:
        found.errors.append(str(error))
        return
    for place in [folder, *seed_folders(folder)]:
        files = [place / f"{trained_on}.pt" for trained_on in PAIR]
        if not all(file.exists() for file in files):
            continue
        try:
            models = {name: load_model(file) for name, file in zip(PAIR, files, strict=True)}
            digests = [file_digest(file) for file in files]
            _check_place(models, folder)
            check_same_settings(models)
        except (FileError, OSError) as error:
            found.errors.append(_message(error))
            continue
        except InputError as error:
            found.errors.append(f"{place}: {error}")
            continue
        weights = {name: weights_digest(model.weights) for name, model in models.items()}
        pair = {name: replace(model, weights={}) for name, model in models.items()}
        if trained is None:
            trained = Trained(place, [pair], weights, digests)
        elif _is_of_another_seed(pair, trained):
            trained.pairs.append(pair)
            trained.digests.extend(digests)
        else:
            found.notes.append(
                f"{place} is ignored: it differs from {folder} in more than the seed, or not in the seed"
            )
    if trained is not None:
        first = trained.pairs[0][UNROTATED]
        found.trained[first.model, first.dataset] = trained


def _check_place(models: dict[str, TrainedModel], folder: Path) -> None:
    """Check that models are where they belong.

    Raises:
        InputError: A model belongs to another pair, or the two have been swapped.
    """
    for name, model in models.items():
        if (pair_name(model.model, model.dataset), model.trained_on) != (folder.name, name):
            what = f"{model.trained_on} {model.model} of {model.dataset}"
            raise InputError(f"{name}.pt is ignored: it was moved there and holds the {what}")


def _is_of_another_seed(pair: dict[str, TrainedModel], trained: Trained) -> bool:
    """Whether a pair differs from the first in the seed alone, and its seed is new."""
    first = trained.pairs[0]
    alike = not any(pair[name].protocol.differences(first[name].protocol, ignore=["seed"]) for name in PAIR)
    return alike and pair[UNROTATED].seed not in {models[UNROTATED].seed for models in trained.pairs}


def _order(measured: Read) -> tuple[str | int, ...]:
    """Sort by names of networks and data sets, then by the usual order of aggregations and controls."""
    pair, controls = measured.pair, [None, *CONTROLS]
    known = list(AGGREGATIONS)
    aggregation = known.index(pair.aggregation) if pair.aggregation in known else len(known)
    return pair.model, pair.dataset, pair.transformation, aggregation, pair.aggregation, controls.index(pair.control)
