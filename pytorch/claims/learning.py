"""Whether a network has learned anything: its accuracy against that of a guess."""

import math

from pytorch.experiments.evaluation import AngleCurve

Z = 1.96
"""Quantile of the normal distribution for a 95 % interval."""

AT_CHANCE = "at chance"
"""In place of an answer: the network has learned nothing and is not a case."""


def chance(curve: AngleCurve | None, classes: int) -> float:
    """Accuracy of always naming the largest class of the test data; 1/K if class sizes are unknown.

    >>> chance(AngleCurve([0.0], [[5, 2]], [30, 10]), 2), chance(None, 4)
    (0.75, 0.25)
    """
    return max(curve.counts) / sum(curve.counts) if curve and sum(curve.counts) else 1 / classes


def proportion_error(fraction: float, samples: int) -> float:
    """Standard error of a proportion, after adding two successes and two failures (Agresti & Coull 1998).

    With these, not even a proportion of 0 or 1 is certain.
    """
    more = (fraction * samples + 2) / (samples + 4)
    return math.sqrt(more * (1 - more) / (samples + 4))


def has_learned(accuracy: float, samples: int, guess: float) -> bool:
    """Whether the 95 % interval of an accuracy on upright data is above the accuracy of a guess.

    >>> has_learned(0.12, 1000, 0.1), has_learned(0.2, 1000, 0.1)
    (False, True)
    """
    return accuracy - Z * proportion_error(accuracy, samples) > guess
