"""Claim: the lower a layer, the more invariant it is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pytorch.claims.claim import NO, YES, Case, Claim, answer, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Trend, holm_of_cases, trend
from pytorch.claims.trainings import before_training, learned, rotation_pairs
from pytorch.experiment import PAIR
from pytorch.report.findings import Findings
from pytorch.report.formats import p_text
from pytorch.report.published import AGGREGATIONS
from pytorch.report.table import Estimate, Row, Table, table_of_rows
from pytorch.report.tables import MEASURES
from pytorch.variance import VarianceResult
from pytorch.variance_pair import VariancePair

SAME = 1e-4
"""Layer means of neighbours that differ by less are those of one quantity, seen twice."""

STATEMENT = "The normalized variance rises with depth: lower layers are the most invariant."
TEST = (
    "Kendall's rank correlation τ of the layer means with the order of execution, two-sided. Neighbours whose means "
    f"differ by less than {SAME:g} count once: a batch norm repeats the NV of its convolution, and under max a ReLU "
    "does. A trend must show twice, in all layers and in all but the first, which under mean hardly varies in any "
    "network, trained or not: the larger of the two p-values counts, adjusted for the number of cases (Holm). The test "
    "takes layers for independent of each other, which they are not: its p-values are too small."
)
CAPTION = (
    "τ is 1 if NV rises from each layer to the next, -1 if it falls. Before training: the same of the network with its "
    "initial weights, judged likewise, by which a trend of the architecture is told from one that training brought "
    f"about. {TEST} Of several trainings this is the first."
)


@dataclass(frozen=True)
class Network:
    """A network whose layers are to be judged, by one measure.

    Attributes:
        pair: The measurement.
        name: Which of its models.
        group: ``"all"`` or ``"stratified"``.
    """

    pair: VariancePair
    name: str
    group: str

    @property
    def result(self) -> VarianceResult:
        """What was found."""
        return self.pair.results[self.name]

    @property
    def measured_in(self) -> tuple[str, ...]:
        """What its control has in common with it."""
        return self.pair.model, self.pair.dataset, self.pair.aggregation, MEASURES[self.group]


@dataclass(frozen=True)
class Judged:
    """Whether the layer means of a network rise.

    Attributes:
        layers: The number of different quantities among them.
        tau: Of all layers.
        tau_without_first: Of all but the first.
        p_value: Adjusted; NaN where it is no case.
        answer: In words.
    """

    layers: int
    tau: float
    tau_without_first: float
    p_value: float
    answer: str


def depth_trend(found: Findings) -> tuple[Claim | None, Table]:
    """Judge every network that was measured under rotations; the claim is None if there is none."""
    pairs = [pair for pair in rotation_pairs(found) if pair.aggregation in AGGREGATIONS]
    networks = [
        Network(pair, name, group)
        for pair in pairs for group in MEASURES for name in pair.results if group in pair.any_result.groups
    ]  # fmt: skip
    judged = _judge([_values(each.result, each.group) for each in networks],
                    [learned(each.pair, each.name) for each in networks])  # fmt: skip
    controls = {
        each.measured_in: _values(before, each.group)
        for each in networks
        if (before := before_training(found, each.pair)) is not None
    }
    before = dict(zip(controls, _judge([*controls.values()], [True] * len(controls)), strict=True))
    rows = [_row(each, answered, before.get(each.measured_in)) for each, answered in zip(networks, judged, strict=True)]
    table = table_of_rows("depth-trend", "Normalized variance against depth", CAPTION, rows)
    cases = [
        Case((*each.measured_in, each.name), answered.answer)
        for each, answered in zip(networks, judged, strict=True)
        if answered.answer != AT_CHANCE
    ]
    if not cases:
        return None, table
    return Claim(STATEMENT, "Kendall's τ, Holm", _sizes(networks, judged, before), cases), table


def _judge(layer_means: Sequence[np.ndarray], counts: Sequence[bool]) -> list[Judged]:
    """Judge layer means, all that count as cases of one claim."""
    trends = [(trend(each), trend(each[1:])) for each in layer_means]
    tested = holm_of_cases([_both(*each) for each in trends], counts)
    judged = []
    for values, (whole, rest), p, is_case in zip(layer_means, trends, tested, counts, strict=True):
        answered = answer(p, whole.tau > 0) if is_case else AT_CHANCE
        judged.append(Judged(len(values), whole.tau, rest.tau, p, answered))
    return judged


def _both(whole: Trend, rest: Trend) -> float:
    """p-value of there being a trend in both (intersection-union: the larger one); 1 if they differ in direction."""
    if math.isnan(whole.tau) or math.isnan(rest.tau):
        return math.nan
    return max(whole.p_value, rest.p_value) if whole.tau * rest.tau > 0 else 1.0


def _values(result: VarianceResult, group: str) -> np.ndarray:
    """Layer means in their order, those of one quantity once, without those that are not finite."""
    values: list[float] = []
    for mean in result.layer_means(group).values():
        if math.isfinite(mean) and not (values and abs(mean - values[-1]) < SAME):
            values.append(mean)
    return np.array(values)


def _row(network: Network, judged: Judged, before: Judged | None) -> Row:
    return {
        **dict(zip(("model", "dataset", "aggregation", "measure"), network.measured_in, strict=True)),
        "trained on": network.name,
        "layers": judged.layers,
        "τ": Estimate(judged.tau, math.nan),
        "τ without the first": Estimate(judged.tau_without_first, math.nan),
        "p": p_text(judged.p_value),
        "rises": judged.answer,
        "τ before training": Estimate(before.tau, math.nan) if before else None,
        "rose before": before.answer if before else None,
        "lowest NV": _extreme(network, np.nanargmin),
        "highest NV": _extreme(network, np.nanargmax),
    }


def _sizes(networks: Sequence[Network], judged: Sequence[Judged], before: dict[tuple[str, ...], Judged]) -> str:
    """Say how much the layer means rise, and how many did so before training."""
    cases = [(network, each) for network, each in zip(networks, judged, strict=True) if each.answer != AT_CHANCE]
    taus = {name: [each.tau for network, each in cases if network.name == name] for name in PAIR}
    taus["before training"] = [each.tau for each in before.values()]
    told = [f"τ {range_text([Estimate(tau, math.nan) for tau in each])}, {name}" for name, each in taus.items() if each]
    for verb, asked in (("rise", YES), ("fall", NO)):
        alike = [before.get(network.measured_in) for network, each in cases if each.answer == asked]
        if alike and before:
            so_before = sum(control is not None and control.answer == asked for control in alike)
            told.append(f"of the {len(alike)} that {verb}, {so_before} did so before training")
    return "; ".join(told)


def _extreme(network: Network, which: Callable[[np.ndarray], int]) -> str:
    """Name the layer with the lowest or highest mean, and its place among all."""
    means = network.result.layer_means(network.group)
    values = np.array([*means.values()])
    if not np.isfinite(values).any():
        return ""
    index = int(which(np.where(np.isfinite(values), values, np.nan)))
    return f"{[*means][index]} ({index + 1} of {len(values)}): {values[index]:.2f}"
