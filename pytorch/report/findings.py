"""What a results folder holds, read for drawing: a file that cannot be read stops nothing but itself."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pytorch.errors import FileError
from pytorch.experiment import CONTROLS, PAIR, TrainedModel, VariancePair, weights_digest
from pytorch.report.controls import controls_of
from pytorch.storage import load_model, load_values, model_folders, values_files
from pytorch.variance.aggregation import AGGREGATIONS


@dataclass(frozen=True)
class Measured:
    """A measurement and a digest of its file."""

    pair: VariancePair
    digest: str


@dataclass(frozen=True)
class Trained:
    """The pairs of one model and one data set, of a seed each, and digests of their files."""

    pairs: list[dict[str, TrainedModel]]
    digests: list[str]


@dataclass(frozen=True)
class Findings:
    """All that was found.

    Attributes:
        measured: The measurements.
        trained: The trained pairs by model and data set.
        errors: Of the files that could not be read, a line each.
    """

    measured: list[Measured] = field(default_factory=list)
    trained: dict[tuple[str, str], Trained] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def controls(self, pair: VariancePair) -> list[Measured]:
        """Return the controls of a measurement that are there, in the order of ``CONTROLS``."""
        found = controls_of(pair, [measured.pair for measured in self.measured])
        wanted = [found[name] for name in CONTROLS if name in found]
        return [measured for control in wanted for measured in self.measured if measured.pair is control]

    def outdated(self, pair: VariancePair) -> bool:
        """Whether the models of a measurement are there with other weights: they were trained anew since."""
        trained = self.trained.get((pair.model, pair.dataset))
        if trained is None or pair.control is not None:
            return False
        return {name: weights_digest(model.weights) for name, model in trained.pairs[0].items()} != pair.weights


def find_results(results_dir: Path) -> Findings:
    """Read every measurement and every trained pair of a results folder."""
    found = Findings()
    for path in values_files(results_dir):
        try:
            found.measured.append(Measured(load_values(path), _digest(path)))
        except FileError as error:
            found.errors.append(str(error))
    found.measured.sort(key=_order)
    for folder in model_folders(results_dir):
        try:
            trained = _trained(folder)
        except FileError as error:
            found.errors.append(str(error))
        else:
            if trained is not None:
                first = trained.pairs[0][PAIR[0]]
                found.trained[first.model, first.dataset] = trained
    return found


def _trained(folder: Path) -> Trained | None:
    """Read the pairs in a folder and in those of further seeds; None if there is none that is complete."""
    pairs, digests = [], []
    for place in [folder, *sorted(folder.glob("seed*"))]:
        files = {trained_on: place / f"{trained_on}.pt" for trained_on in PAIR}
        if all(file.exists() for file in files.values()):
            pairs.append({trained_on: load_model(file) for trained_on, file in files.items()})
            digests.extend(_digest(file) for file in files.values())
    if not pairs:
        return None
    if len({(model.model, model.dataset) for pair in pairs for model in pair.values()}) > 1:
        raise FileError(f"{folder} holds models of several architectures or data sets")
    return Trained(sorted(pairs, key=lambda pair: pair[PAIR[0]].seed), digests)


def _order(measured: Measured) -> tuple[str | int, ...]:
    """Networks and data sets by name, aggregations and controls as they are listed elsewhere."""
    pair, controls = measured.pair, [None, *CONTROLS]
    known = list(AGGREGATIONS)
    aggregation = known.index(pair.aggregation) if pair.aggregation in known else len(known)
    return pair.model, pair.dataset, pair.transformation, aggregation, controls.index(pair.control)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
