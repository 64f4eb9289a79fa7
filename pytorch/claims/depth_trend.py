"""Claim: lower layers are more invariant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytorch.claims.claim import NO, UNCLEAR, YES, Case, Claim, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Trend, trend
from pytorch.claims.trainings import learned, rotation_pairs
from pytorch.claims.varying_layers import SAME, VaryingLayers
from pytorch.experiments.published import AGGREGATIONS
from pytorch.experiments.vocabulary import PAIR, UNTRAINED
from pytorch.report.controls import before_training
from pytorch.report.findings import Findings
from pytorch.report.table import Estimate, Table, table_of_rows
from pytorch.variance import VarianceResult
from pytorch.variance.result import GROUP_TITLES

RISING = 1 / 3
"""Bound for τ: two of three pairs of layers are in order."""

STATEMENT = (
    "The normalized variance rises with depth, so that lower layers are more invariant: in two of three pairs of "
    "layers, the deeper one has the higher mean."
)
TEST = (
    "Kendall's rank correlation τ of the layer means with the order of execution: 1 if NV rises from each layer to the "
    "next, −1 if it falls; above 1/3 if two of three pairs of layers are in order. Its 95 % interval must clear that "
    "bound twice: for all layers, and for all but the first. (The black margin of an image makes the first invariant "
    "in any network.) Both above make a yes, either below a no. The error of τ follows from the errors of the layer "
    "means over samples, taken as independent. The layers are all layers of a network, not a sample of them, so the "
    "answer is about these networks. Units that never change are left out. Neighbours whose means differ by less than "
    f"{SAME:g} count once: a batch norm repeats the NV of its convolution, and under max so do most ReLUs."
)
CAPTION = (
    "Before training: the same for the network with its initial weights. It separates a trend of the architecture from "
    f"one that training causes. {TEST} Of several trainings, the table shows the first."
)


@dataclass(frozen=True)
class Judged:
    """Whether the layer means of a network rise.

    Attributes:
        means: The layer means.
        layers: Number of distinct layer means.
        whole: Trend of all layers.
        rest: Trend of all layers but the first.
    """

    means: VaryingLayers
    layers: int
    whole: Trend
    rest: Trend

    @classmethod
    def of(cls, result: VarianceResult, group: str) -> "Judged":
        """Judge layer means."""
        means = VaryingLayers.of(result, group)
        values, errors = means.distinct()
        return cls(means, len(values), trend(values, errors), trend(values[1:], errors[1:]))

    @property
    def answer(self) -> str:
        """Yes if both trends are above the bound, no if either is below it."""
        intervals = [each.interval for each in (self.whole, self.rest)]
        if all(low > RISING for low, _ in intervals):
            return YES
        return NO if any(high < RISING for _, high in intervals) else UNCLEAR

    @property
    def falls(self) -> bool:
        """Whether both trends are below minus the bound."""
        return all(each.interval[1] < -RISING for each in (self.whole, self.rest))


def depth_trend(found: Findings) -> tuple[Claim | None, Table]:
    """Judge every network measured under rotations; the claim is None without a case."""
    rows, cases, counted, controls = [], [], [], []
    for pair in rotation_pairs(found):
        control = before_training(pair, found.pairs)
        for group in pair.any_result.summary_groups if pair.aggregation in AGGREGATIONS else ():
            before = Judged.of(control.results[UNTRAINED], group) if control else None
            controls += [before] if before else []
            measured_in = pair.model, pair.dataset, pair.aggregation, GROUP_TITLES[group]
            for name, result in pair.results.items():
                judged = Judged.of(result, group)
                found_answer = judged.answer if learned(pair, name) else AT_CHANCE
                if found_answer != AT_CHANCE:
                    cases.append(Case((*measured_in, name), found_answer))
                    counted.append((name, judged, before))
                rows.append({
                    **dict(zip(("model", "dataset", "aggregation", "measure"), measured_in, strict=True)),
                    "trained on": name,
                    "layers": judged.layers,
                    "τ": _estimate(judged.whole),
                    "τ without the first": _estimate(judged.rest),
                    "rises": found_answer,
                    "τ before training": before and _estimate(before.whole),
                    "rose before": before and before.answer,
                    "lowest NV": judged.means.extreme(np.argmin),
                    "highest NV": judged.means.extreme(np.argmax),
                })  # fmt: skip
    table = table_of_rows("depth-trend", "Normalized variance against depth", CAPTION, rows)
    if not cases:
        return None, table
    return Claim(STATEMENT, "Kendall's τ above 1/3, 95 % intervals", _sizes(counted, controls), cases), table


def _estimate(found: Trend) -> Estimate:
    return Estimate(found.tau, found.error)


def _sizes(counted: Sequence[tuple[str, Judged, Judged | None]], controls: Sequence[Judged]) -> str:
    """Say how much the layer means rise, and how many networks rise or fall, now and before training."""
    taus = {model: [each.whole for name, each, _ in counted if name == model] for model in PAIR}
    taus["before training"] = [each.whole for each in controls]
    sizes = [f"τ {range_text([*map(_estimate, each)])}, {name}" for name, each in taus.items() if each]
    for verb, is_so in (("rise", lambda each: each.answer == YES), ("fall (τ below −1/3)", lambda each: each.falls)):
        alike = [before for _, each, before in counted if is_so(each)]
        so_before = sum(before is not None and is_so(before) for before in alike)
        sizes.append(f"{len(alike)} {verb}" + (f", {so_before} of them before training too" if controls else ""))
    return "; ".join(sizes)
