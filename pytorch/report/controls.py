"""Find the controls and the equivariance that belong to a measurement."""

from collections.abc import Sequence

from pytorch.experiments.protocol import Protocol
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import RANDOM_WEIGHTS, SHUFFLED, UNROTATED, UNTRAINED
from pytorch.names import EQUIVARIANCE

BEGINNING = "fingerprint of the data", "classes", "training samples", "seed of their choice", "seed"
"""Settings that, besides the model, determine an untrained network: its weights and the normalisation of its input."""


def controls_of(pair: VariancePair, pairs: Sequence[VariancePair]) -> dict[str, VariancePair]:
    """Return the controls of a pair, by name.

    They share its model, data set, transformations and aggregation, and belong to the same training: the shuffled
    control has the same weights, the untrained one the same initial weights.
    """
    found: dict[str, VariancePair] = {}
    for other in pairs:
        if other.control and _measured_alike(other, pair) and _trained_alike(other, pair):
            found.setdefault(other.control, other)
    return found


def before_training(pair: VariancePair, pairs: Sequence[VariancePair]) -> VariancePair | None:
    """Return the untrained control that can be compared with a pair; None: there is none.

    Both were measured on the same number of samples, because NV is too large for few samples.
    """
    control = controls_of(pair, pairs).get(RANDOM_WEIGHTS)
    return control if control and not control.protocol.differences(pair.protocol, only=["samples"]) else None


def equivariance_of(pair: VariancePair, pairs: Sequence[VariancePair]) -> VariancePair | None:
    """Return the equivariance of the networks of a measurement, measured alike; None: it was not measured."""
    alike = (
        "model", "dataset", "transformation", "transformations", "control", "samples", "precision", "tolerance",
        "weights",
    )  # fmt: skip
    found = (other for other in pairs if other.aggregation == EQUIVARIANCE != pair.aggregation)
    return next((other for other in found if not other.protocol.differences(pair.protocol, only=alike)), None)


def _measured_alike(one: VariancePair, other: VariancePair) -> bool:
    alike = ("model", "dataset", "transformation", "aggregation", "transformations")
    return not one.protocol.differences(other.protocol, only=alike)


def _trained_alike(control: VariancePair, pair: VariancePair) -> bool:
    if control.control == SHUFFLED:
        return control.weights == pair.weights
    of_control, of_pair = (
        Protocol(each.training.get(name, {})) for each, name in ((control, UNTRAINED), (pair, UNROTATED))
    )
    return not of_control.differences(of_pair, only=BEGINNING)
