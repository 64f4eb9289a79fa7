"""A claim, the cases it is put to, and what they say of it together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pytorch.report.formats import estimate_text
from pytorch.report.table import Estimate

YES, NO, UNCLEAR = "yes", "no", "unclear"
"""Answers: the claim holds, its opposite does, or the data do not tell."""

VERDICTS = (
    "Reproduced: a yes in some cases and a no in none; depends: a yes in some and a no in others; not reproduced: a no "
    "in some and a yes in none; undecided: neither. Unclear: the data do not tell."
)

LEVEL = 0.05
"""Probability of a wrong yes or no among all the cases of a claim with p-values, where nothing is to be found."""


@dataclass(frozen=True)
class Case:
    """One network, or pair of networks, that a claim is put to.

    Attributes:
        of: What tells it from others, the most general first: ("resnet", "mnist", "rotated model").
        answer: ``YES``, ``NO`` or ``UNCLEAR``.
    """

    of: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and the answers to it.

    Attributes:
        statement: As it is tested.
        test: By what the answers were found, in a few words.
        found: The sizes of what was found, with their errors.
        cases: At least one.
        expected: How many cases the paper has; None: it is no matter of counting.
    """

    statement: str
    test: str
    found: str
    cases: Sequence[Case]
    expected: int | None = None

    def verdict(self) -> str:
        """Sum the answers up in words, as ``VERDICTS`` explains them.

        >>> rotated, unrotated = Case(("resnet", "rotated"), YES), Case(("resnet", "unrotated"), UNCLEAR)
        >>> Claim("", "", "", [rotated, unrotated]).verdict()
        'reproduced in 1 of 2 cases; unclear in 1 (resnet, unrotated)'
        >>> Claim("", "", "", [rotated], expected=32).verdict()
        'reproduced in all cases that were measured, 1 of 32'
        """
        answers, count = [case.answer for case in self.cases], len(self.cases)
        extent = f" that were measured, {count} of {self.expected}" if self.expected not in (None, count) else ""
        if YES in answers:
            decision, decisive = ("depends: yes" if NO in answers else "reproduced"), YES
        elif NO in answers:
            decision, decisive = "not reproduced: no", NO
        else:
            decision, decisive = "undecided", UNCLEAR
        number = answers.count(decisive)
        cases = "all cases" if number == count else f"{number} of {count} cases"
        return f"{decision} in {cases}{extent}{self._exceptions(decisive)}"

    def _exceptions(self, decisive: str) -> str:
        """Name the cases with another answer, by answer."""
        found = sorted((case for case in self.cases if case.answer != decisive), key=lambda case: case.answer)
        told = ""
        for answer, cases in groupby(found, key=lambda case: case.answer):
            named = [", ".join(case.of) for case in cases]
            told += f"; {answer} in {len(named)} ({'; '.join(named)})"
        return told


def range_text(estimates: Sequence[Estimate]) -> str:
    """Write the lowest and the highest of several estimates.

    >>> range_text([Estimate(0.31, 0.02), Estimate(-0.1, 0.01), Estimate(0.25, 0.02)])
    '−0.100 ± 0.010 to 0.310 ± 0.020'
    """
    known = sorted((each for each in estimates if not math.isnan(each.value)), key=lambda each: each.value)
    ends = dict.fromkeys(estimate_text(each) for each in known[:1] + known[-1:])
    return " to ".join(ends) or "–"


def answer(p_value: float, agrees: bool) -> str:
    """Answer by a two-sided p-value, adjusted for the number of cases, and by the sign of what was found."""
    if not p_value < LEVEL:
        return UNCLEAR
    return YES if agrees else NO
