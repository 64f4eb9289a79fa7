"""Checks of file content beyond field types, so that it can be drawn, trained and measured without surprises."""

import math
from collections.abc import Iterable

from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR
from pytorch.variance import VarianceResult
from pytorch.variance.recording.channel_axes import ASSUMED, GIVEN, KNOWN
from pytorch.variance.result import check_class_names

LONGEST_PART = 60
"""Maximum number of letters in a name that becomes part of a file name."""

LONGEST_NAME = 300
"""Maximum number of letters in the name of a layer, a class or a transformation."""

LONGEST_REASON = 1000
"""Maximum number of letters in the reason why something was not measured."""

SCORES = {"upright", "rotated"}


def check_trained(trained: TrainedModel) -> TrainedModel:
    """Check a trained model from a file, and return it.

    Raises:
        ValueError: No training gives such a model; the message says why.
    """
    _check_lengths([trained.model, trained.dataset], LONGEST_PART)
    _check_lengths(trained.classes, LONGEST_NAME)
    check_class_names(trained.classes)
    _demand(len(trained.classes) > 0, "it has no classes")
    _demand(trained.trained_on in PAIR, "it was trained on neither unrotated nor rotated samples")
    constants = trained.normalization
    _demand(len(constants.mean) == len(constants.std) == trained.channels > 0, "its normalization is of other channels")
    _demand(_finite([*constants.mean, *constants.std]) and min(constants.std) > 0, "its normalization is impossible")
    _demand(len(trained.history) == trained.epochs > 0, "its history is not that of its epochs")
    numbers = [number for epoch in trained.history for number in (epoch.loss, epoch.accuracy, epoch.seconds)]
    _demand(_finite(numbers), "its history is impossible")
    _demand(trained.samples > 0 and trained.test_samples > 0, "it has no samples")
    _check_accuracy(trained.accuracy)
    if trained.angle_curve is not None:
        _check_curve(trained.angle_curve, len(trained.classes))
    return trained


def check_measured(pair: VariancePair) -> VariancePair:
    """Check a measurement from or for a file, and return it.

    Raises:
        ValueError: No measurement gives such results; the message says why.
    """
    _demand(pair.is_complete, "it must contain both models of a pair, unrotated and rotated, or a control")
    _check_lengths([pair.model, pair.dataset, pair.transformation, pair.aggregation], LONGEST_PART)
    for result in pair.results.values():
        _check_result(result)
    classes = len(pair.any_result.classes)
    _demand(_finite([pair.seconds]), "its seconds are impossible")
    for named in (pair.accuracy, pair.angle_curves, pair.training, pair.weights):
        _demand(named.keys() <= pair.results.keys(), "it describes networks that were not measured")
    for accuracy in pair.accuracy.values():
        _check_accuracy(accuracy)
    for curve in pair.angle_curves.values():
        _check_curve(curve, classes)
    return pair


def _check_result(result: VarianceResult) -> None:
    _check_lengths([*result.layer_names, *result.classes, *result.transformations, *result.not_measured], LONGEST_NAME)
    _check_lengths(result.not_measured.values(), LONGEST_REASON)
    _demand(len(result.layer_names) > 0, "it has no layers")
    _demand(len(result.transformations) > 0, "it has no transformations")
    _demand(result.samples >= 0 and bool((result.class_counts >= 0).all()), "its numbers of samples are impossible")
    _demand(result.tolerance is None or 0 < result.tolerance < math.inf, "its tolerance is impossible")
    rounding = result.rounding
    _demand(
        rounding is None or bool(((rounding >= 0) & (rounding < math.inf)).all()), "its rounding bounds are impossible"
    )
    _demand({*result.layer_axes_known} <= {KNOWN, ASSUMED, GIVEN}, "its axes are neither known, assumed nor given")
    _demand(all(axis > 0 for axes in result.layer_axes for axis in axes), "its axes are impossible")


def _check_accuracy(accuracy: dict[str, float]) -> None:
    fits = accuracy.keys() == SCORES and all(0 <= part <= 1 for part in accuracy.values())
    _demand(fits, "its accuracies are impossible")


def _check_curve(curve: AngleCurve, classes: int) -> None:
    _demand(len(curve.counts) == classes and _finite(curve.degrees), "its accuracy against angle is of other classes")
    rows = [curve.counts, *curve.right]
    fits = all(0 <= right <= count for row in rows for right, count in zip(row, curve.counts, strict=True))
    _demand(len(curve.degrees) > 0 and fits, "its accuracy against angle is impossible")


def _check_lengths(names: Iterable[str], longest: int) -> None:
    for name in names:
        _demand(0 < len(name) <= longest, f"it has a name of {len(name)} letters: there are 1 to {longest}")


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(math.isfinite, numbers))


def _demand(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)
