"""Which controls belong to which measurement."""

from collections.abc import Sequence

from pytorch.experiment import SHUFFLED, UNROTATED, UNTRAINED
from pytorch.variance_pair import VariancePair

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
