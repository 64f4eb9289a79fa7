"""Checks of file content beyond field types, so that it can be drawn, trained and measured without surprises."""

import math
from collections.abc import Iterable

from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.training import Epoch
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.variance_series import VarianceSeries
from pytorch.experiments.vocabulary import PAIR
from pytorch.files.checked_fields import check_lengths, demand
from pytorch.variance.result import check_class_names
from pytorch.variance.result_file import check_result

LONGEST_PART = 60
"""Maximum number of letters in a name that becomes part of a file name."""

SCORES = {"upright", "rotated"}


def check_trained(trained: TrainedModel) -> TrainedModel:
    """Check a trained model from a file, and return it.

    Raises:
        ValueError: No training gives such a model; the message says why.
    """
    check_lengths([trained.model, trained.dataset], LONGEST_PART)
    check_lengths(trained.classes)
    check_class_names(trained.classes)
    demand(len(trained.classes) > 0, "it has no classes")
    demand(trained.trained_on in PAIR, "it was trained on neither unrotated nor rotated samples")
    constants = trained.normalization
    demand(len(constants.mean) == len(constants.std) == trained.channels > 0, "its normalization is of other channels")
    demand(_finite([*constants.mean, *constants.std]) and min(constants.std) > 0, "its normalization is impossible")
    demand(len(trained.history) == trained.epochs > 0, "its history is not that of its epochs")
    _check_history(trained.history)
    demand(trained.samples > 0 and trained.test_samples > 0, "it has no samples")
    _check_accuracy(trained.accuracy)
    if trained.angle_curve is not None:
        _check_curve(trained.angle_curve, len(trained.classes))
    return trained


def check_measured(pair: VariancePair) -> VariancePair:
    """Check a measurement from or for a file, and return it.

    Raises:
        ValueError: No measurement gives such results; the message says why.
    """
    demand(pair.is_complete, "it must contain both models of a pair, unrotated and rotated, a control, or a network")
    check_lengths([pair.model, pair.dataset, pair.transformation, pair.aggregation], LONGEST_PART)
    for result in pair.results.values():
        check_result(result)
    classes = len(pair.any_result.classes)
    demand(_finite([pair.seconds]), "its seconds are impossible")
    for named in (pair.accuracy, pair.angle_curves, pair.training, pair.weights):
        demand(named.keys() <= pair.results.keys(), "it describes networks that were not measured")
    for accuracy in pair.accuracy.values():
        _check_accuracy(accuracy)
    for curve in pair.angle_curves.values():
        _check_curve(curve, classes)
    return pair


def check_series(series: VarianceSeries) -> VarianceSeries:
    """Check a measurement while training from or for a file, and return it.

    Raises:
        ValueError: No measurement gives such results; the message says why.
    """
    check_measured(series.pair)
    demand(series.pair.control is None, "it is of a control")
    for results in series.earlier.values():
        for result in results.values():
            check_result(result)
    for history in series.history.values():
        _check_history(history)
    return series


def _check_history(history: list[Epoch]) -> None:
    numbers = [number for epoch in history for number in (epoch.loss, epoch.accuracy, epoch.seconds)]
    demand(_finite(numbers), "its history is impossible")


def _check_accuracy(accuracy: dict[str, float]) -> None:
    fits = accuracy.keys() == SCORES and all(0 <= part <= 1 for part in accuracy.values())
    demand(fits, "its accuracies are impossible")


def _check_curve(curve: AngleCurve, classes: int) -> None:
    demand(len(curve.counts) == classes and _finite(curve.degrees), "its accuracy against angle is of other classes")
    rows = [curve.counts, *curve.right]
    fits = all(0 <= right <= count for row in rows for right, count in zip(row, curve.counts, strict=True))
    demand(len(curve.degrees) > 0 and fits, "its accuracy against angle is impossible")


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(math.isfinite, numbers))
