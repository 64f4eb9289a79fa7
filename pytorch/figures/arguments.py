"""Checks of what figures are given: measurements of pairs, trained pairs, and widths."""

from pytorch.checked_numbers import real_number
from pytorch.errors import InputError
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR
from pytorch.names import WIDTHS
from pytorch.variance import VarianceResult


def check_pair(pair: object, width: object = None) -> None:
    """Check that a figure of a pair has one to draw, and can have the width.

    Raises:
        InputError: ``pair`` is something else, such as a result, or the width is wrong.
    """
    if not isinstance(pair, VariancePair):
        results = "results" if isinstance(pair, dict) else '{"mine": result}'
        given = "a result" if isinstance(pair, VarianceResult) else f"of type {type(pair).__name__}"
        raise InputError(f"pair is {given}: make a pair by VariancePair.of_results({results}, model=..., dataset=...), "
                         f"or draw results with compare({results}) or compare_heatmaps({results})")  # fmt: skip
    check_width(width)


def check_width(width: object) -> None:
    """Check the width of a figure in inches; None stands for its own.

    Raises:
        InputError: It is no number, too narrow or too wide.
    """
    if width is not None:
        low, high = WIDTHS
        real_number("width", width, lambda inches: low <= inches <= high, f"of inches, {low} to {high}, or None")


def check_trained_pair(pair: object) -> None:
    """Check that a figure of a training has a trained pair to draw.

    Raises:
        InputError: It is something else, such as a measurement, or one of the two models is missing.
    """
    if not isinstance(pair, dict) or not all(isinstance(pair.get(name), TrainedModel) for name in PAIR):
        raise InputError(f"a trained pair is a dictionary of the {' and the '.join(PAIR)} TrainedModel, as load_model "
                         f"reads them, and not {_described(pair)}")  # fmt: skip


def check_trained_pairs(pairs: object) -> None:
    """Check that a figure of several trainings has trained pairs to draw.

    Raises:
        InputError: They are no sequence of pairs, or are not all of the same classes.
    """
    if not isinstance(pairs, list | tuple) or not pairs:
        raise InputError(f"pairs must be a list of one or more trained pairs, and not {_described(pairs)}")
    for pair in pairs:
        check_trained_pair(pair)
    first = pairs[0][PAIR[0]].classes
    if any(trained.classes != first for pair in pairs for trained in pair.values()):
        raise InputError("pairs must be trained on the same classes: draw each data set by itself")


def _described(given: object) -> str:
    if isinstance(given, dict):
        return f"a dictionary of {', '.join(map(str, given)) or 'nothing'}"
    return "empty" if given in ([], ()) else f"of type {type(given).__name__}"
