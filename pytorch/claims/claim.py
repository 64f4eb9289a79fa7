"""A claim, the cases it is put to, and what they say of it together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytorch.report.formats import estimate_text
from pytorch.report.table import Estimate

YES, NO, UNCLEAR = "yes", "no", "unclear"
"""Answers: the claim holds, its opposite does, or the data do not tell."""

VERDICTS = (
    "Reproduced: a yes in all cases that were measured; depends: a yes in some; not reproduced: a no in some and a yes "
    "in none; undecided: neither. Unclear: the data do not tell."
)

MOST_NAMED = 4
"""Cases that a verdict names one by one; the table of the cases has them all."""

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
        'depends: yes in 1 of 2 cases (rotated); unclear in 1'
        >>> Claim("", "", "", [rotated], expected=32).verdict()
        'reproduced in all cases that were measured, 1 of 32'
        """
        answers, count = [case.answer for case in self.cases], len(self.cases)
        extent = f" that were measured, {count} of {self.expected}" if self.expected not in (None, count) else ""
        if YES in answers:
            decision, decisive = ("depends: yes" if len(set(answers)) > 1 else "reproduced"), YES
        elif NO in answers:
            decision, decisive = "not reproduced: no", NO
        else:
            decision, decisive = "undecided", UNCLEAR
        number = answers.count(decisive)
        if number == count:
            return f"{decision} in all cases{extent}"
        told = f"{decision} in {number} of {count} cases{extent}{self._which(decisive)}"
        if decisive == YES and NO in answers:
            told += f"; no in {answers.count(NO)}{self._which(NO)}"
        return told + (f"; unclear in {answers.count(UNCLEAR)}" if UNCLEAR in answers else "")

    def _which(self, answer: str) -> str:
        """Name the cases with an answer in brackets: by what they alone have in common, or one by one, if few."""
        named = [case.of for case in self.cases if case.answer == answer]
        shared = [parts[0] if len(set(parts)) == 1 else None for parts in zip(*named, strict=True)]
        alike = [case for case in self.cases if all(s in (None, own) for s, own in zip(shared, case.of, strict=True))]
        if len(alike) > len(named):
            return f" ({'; '.join(', '.join(of) for of in named)})" if len(named) <= MOST_NAMED else ""
        everywhere = [len(set(parts)) == 1 for parts in zip(*(case.of for case in self.cases), strict=True)]
        return f" ({', '.join(part for part, same in zip(shared, everywhere, strict=True) if part and not same)})"


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
