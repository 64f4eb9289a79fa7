"""Checks of what figures are given: measurements of pairs, and widths."""

from pytorch.checked_numbers import real_number
from pytorch.errors import InputError
from pytorch.experiments.variance_pair import VariancePair
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
