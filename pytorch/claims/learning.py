"""What a network knows: its accuracy above what a guess has."""

import math

from pytorch.experiments.evaluation import AngleCurve

Z = 1.96
"""Quantile of the normal distribution for an interval of 95 %."""

AT_CHANCE = "at chance"
"""In the place of an answer: the network has learned nothing, and is no case of a claim."""


def chance(curve: AngleCurve | None, classes: int) -> float:
    """Accuracy of always naming the largest class of the test data; 1/K where its classes were not counted.

    >>> chance(AngleCurve([0.0], [[5, 2]], [30, 10]), 2), chance(None, 4)
    (0.75, 0.25)
    """
    return max(curve.counts) / sum(curve.counts) if curve and sum(curve.counts) else 1 / classes


def proportion_error(fraction: float, samples: int) -> float:
    """Standard error of a proportion, as if two more were right and two wrong (Agresti & Coull 1998).

    So that none is known for sure.
    """
    more = (fraction * samples + 2) / (samples + 4)
    return math.sqrt(more * (1 - more) / (samples + 4))


def has_learned(accuracy: float, samples: int, guess: float) -> bool:
    """Whether an accuracy on upright data is above that of a guess, by its 95 % interval.

    >>> has_learned(0.12, 1000, 0.1), has_learned(0.2, 1000, 0.1)
    (False, True)
    """
    return accuracy - Z * proportion_error(accuracy, samples) > guess
