"""Which controls belong to which measurement."""

from collections.abc import Sequence

from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import RANDOM_WEIGHTS, SHUFFLED, UNROTATED, UNTRAINED

BEGINNING = "fingerprint of the data", "classes", "training samples", "seed of their choice", "seed"
"""What a network before its training follows from, besides its model: its weights, and how its input is normalised."""


def controls_of(pair: VariancePair, pairs: Sequence[VariancePair]) -> dict[str, VariancePair]:
    """Find the controls to compare a pair with, by their names.

    They have the same model, data set, transformations and aggregation, and belong to the same training: the shuffled
    one has the same weights, and the one before training began alike.
    """
    found: dict[str, VariancePair] = {}
    for other in pairs:
        if other.control and _measured_alike(other, pair) and _trained_alike(other, pair):
            found.setdefault(other.control, other)
    return found


def before_training(pair: VariancePair, pairs: Sequence[VariancePair]) -> VariancePair | None:
    """Find the control before training that a pair's numbers can stand beside; None if there is none.

    It was measured on as many samples: of few, NV is too large.
    """
    control = controls_of(pair, pairs).get(RANDOM_WEIGHTS)
    return control if control and samples_offered(control) == samples_offered(pair) else None


def samples_offered(pair: VariancePair) -> int | None:
    """How many samples there were to measure; with a tolerance a measurement stops when enough is known."""
    result = pair.any_result
    return result.samples if result.tolerance is None else result.samples_offered


def _measured_alike(one: VariancePair, other: VariancePair) -> bool:
    names = ("model", "dataset", "transformation", "aggregation")
    return (
        all(getattr(one, name) == getattr(other, name) for name in names)
        and one.any_result.transformations == other.any_result.transformations
    )


def _trained_alike(control: VariancePair, pair: VariancePair) -> bool:
    if control.control == SHUFFLED:
        return control.weights == pair.weights
    of_control, of_pair = control.training.get(UNTRAINED, {}), pair.training.get(UNROTATED, {})
    return all(of_control.get(name) == of_pair.get(name) for name in BEGINNING)
