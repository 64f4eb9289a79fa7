"""A claim, its cases, and the verdict that follows from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytorch.report.formats import estimate_text
from pytorch.report.table import Estimate

YES, NO, UNCLEAR = "yes", "no", "unclear"
"""Answers: the claim holds, the opposite holds, or the data cannot decide."""

VERDICTS = (
    "Reproduced: yes in all measured cases. Depends: yes in some. Not reproduced: no in some, yes in none. Undecided: "
    "neither. Unclear: the data cannot decide."
)

MOST_NAMED = 4
"""Most cases that a verdict names one by one; the table of cases lists them all."""

LEVEL = 0.05
"""Probability of any wrong yes or no among the cases of a claim with p-values, if there is no effect."""


@dataclass(frozen=True)
class Case:
    """One network, or pair of networks, that a claim is tested on.

    Attributes:
        of: Words that identify it, the most general first: ("resnet", "mnist", "rotated model").
        answer: ``YES``, ``NO`` or ``UNCLEAR``.
    """

    of: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and the answers to it.

    Attributes:
        statement: The claim as it is tested.
        test: The statistical test, in a few words.
        found: Effect sizes with their errors.
        cases: At least one case.
        expected: Number of cases in the paper; None if the paper has no list of them.
    """

    statement: str
    test: str
    found: str
    cases: Sequence[Case]
    expected: int | None = None

    def verdict(self) -> str:
        """Summarise the answers in words, which ``VERDICTS`` explains.

        >>> rotated, unrotated = Case(("resnet", "rotated"), YES), Case(("resnet", "unrotated"), UNCLEAR)
        >>> Claim("", "", "", [rotated, unrotated]).verdict()
        'depends: yes in 1 of 2 cases (rotated); unclear in 1'
        >>> Claim("", "", "", [rotated], expected=32).verdict()
        'reproduced in all cases measured, 1 of 32'
        """
        answers, count = [case.answer for case in self.cases], len(self.cases)
        extent = f" measured, {count} of {self.expected}" if self.expected not in (None, count) else ""
        if YES in answers:
            decision, decisive = ("depends: yes" if len(set(answers)) > 1 else "reproduced"), YES
        elif NO in answers:
            decision, decisive = "not reproduced: no", NO
        else:
            decision, decisive = "undecided", UNCLEAR
        number = answers.count(decisive)
        if number == count:
            return f"{decision} in all cases{extent}"
        text = f"{decision} in {number} of {count} cases{extent}{self._which(decisive)}"
        if decisive == YES and NO in answers:
            text += f"; no in {answers.count(NO)}{self._which(NO)}"
        return text + (f"; unclear in {answers.count(UNCLEAR)}" if UNCLEAR in answers else "")

    def _which(self, answer: str) -> str:
        """Name the cases with an answer, in brackets: by the words that only they share, or one by one if few."""
        named = [case.of for case in self.cases if case.answer == answer]
        shared = [parts[0] if len(set(parts)) == 1 else None for parts in zip(*named, strict=True)]
        alike = [case for case in self.cases if all(s in (None, own) for s, own in zip(shared, case.of, strict=True))]
        if len(alike) > len(named):
            return f" ({'; '.join(', '.join(of) for of in named)})" if len(named) <= MOST_NAMED else ""
        everywhere = [len(set(parts)) == 1 for parts in zip(*(case.of for case in self.cases), strict=True)]
        return f" ({', '.join(part for part, same in zip(shared, everywhere, strict=True) if part and not same)})"


def range_text(estimates: Sequence[Estimate]) -> str:
    """Write the range of several estimates.

    >>> range_text([Estimate(0.31, 0.02), Estimate(-0.1, 0.01), Estimate(0.25, 0.02)])
    '−0.100 ± 0.010 to 0.310 ± 0.020'
    """
    known = sorted((each for each in estimates if not math.isnan(each.value)), key=lambda each: each.value)
    ends = dict.fromkeys(estimate_text(each) for each in known[:1] + known[-1:])
    return " to ".join(ends) or "–"


def answer(p_value: float, agrees: bool) -> str:
    """Answer by a two-sided p-value, adjusted for the number of cases, and by the sign of the effect."""
    if not p_value < LEVEL:
        return UNCLEAR
    return YES if agrees else NO
