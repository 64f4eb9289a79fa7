"""Claim: the lower a layer, the more invariant it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytorch.claims.claim import NO, UNCLEAR, YES, Case, Claim, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Trend, trend
from pytorch.claims.trainings import before_training, learned, rotation_pairs
from pytorch.claims.varying_layers import SAME, VaryingLayers
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR
from pytorch.report.findings import Findings
from pytorch.report.published import AGGREGATIONS
from pytorch.report.table import Estimate, Row, Table, table_of_rows
from pytorch.report.tables import MEASURES
from pytorch.variance import VarianceResult

RISING = 1 / 3
"""Of τ: two of three pairs of layers are in order."""

CONFIDENCE = 0.95
"""Of the interval of τ, which must clear the bound."""

STATEMENT = (
    "The normalized variance rises with depth, lower layers are the most invariant: in two of three pairs of layers "
    "the deeper one has the higher mean."
)
TEST = (
    "Kendall's rank correlation τ of the layer means with the order of execution: 1 if NV rises from each layer to the "
    "next, −1 if it falls; above 1/3 where two of three pairs of layers are in order. Its 95 % interval must clear "
    "that bound, in all layers and in all but the first, which the black margin of an image makes invariant in any "
    "network: both above make a yes, either below a no. Its error follows from those of the layer means over samples, "
    "taken as independent. The layers are all that a network has, no sample of them: the answer is of these networks. "
    f"Units that never change are left out, and neighbours whose means differ by less than {SAME:g} count once: a "
    "batch norm repeats the NV of its convolution, and under max most ReLUs do."
)
CAPTION = (
    "Before training: the same of the network with its initial weights, judged likewise, by which a trend of the "
    f"architecture is told from one that training brought about. {TEST} Of several trainings this is the first."
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
        whole: Trend of all layers.
        rest: Of all but the first.
    """

    layers: int
    whole: Trend
    rest: Trend

    @classmethod
    def of(cls, means: VaryingLayers) -> "Judged":
        """Judge layer means."""
        values, errors = means.distinct()
        return cls(len(values), trend(values, errors), trend(values[1:], errors[1:]))

    @property
    def answer(self) -> str:
        """Yes if both surely rise, no if either surely does not."""
        intervals = [each.interval(CONFIDENCE) for each in (self.whole, self.rest)]
        if all(low > RISING for low, _ in intervals):
            return YES
        return NO if any(high < RISING for _, high in intervals) else UNCLEAR

    @property
    def falls(self) -> bool:
        """Whether both surely fall as much."""
        return all(each.interval(CONFIDENCE)[1] < -RISING for each in (self.whole, self.rest))


def depth_trend(found: Findings) -> tuple[Claim | None, Table]:
    """Judge every network that was measured under rotations; the claim is None if there is none."""
    pairs = [pair for pair in rotation_pairs(found) if pair.aggregation in AGGREGATIONS]
    networks = [
        Network(pair, name, group)
        for pair in pairs for group in MEASURES for name in pair.results if group in pair.any_result.groups
    ]  # fmt: skip
    means = [VaryingLayers.of(each.result, each.group) for each in networks]
    judged = [Judged.of(each) for each in means]
    answers = [
        each.answer if learned(network.pair, network.name) else AT_CHANCE
        for network, each in zip(networks, judged, strict=True)
    ]
    before = {
        each.measured_in: Judged.of(VaryingLayers.of(result, each.group))
        for each in networks
        if (result := before_training(found, each.pair)) is not None
    }
    rows = [
        _row(network, layers, each, answered, before.get(network.measured_in))
        for network, layers, each, answered in zip(networks, means, judged, answers, strict=True)
    ]
    table = table_of_rows("depth-trend", "Normalized variance against depth", CAPTION, rows)
    counted = [
        (network, each)
        for network, each, answered in zip(networks, judged, answers, strict=True)
        if answered != AT_CHANCE
    ]
    if not counted:
        return None, table
    cases = [Case((*network.measured_in, network.name), each.answer) for network, each in counted]
    return Claim(STATEMENT, "Kendall's τ above 1/3, 95 % intervals", _sizes(counted, before), cases), table


def _row(network: Network, means: VaryingLayers, judged: Judged, answered: str, before: Judged | None) -> Row:
    return {
        **dict(zip(("model", "dataset", "aggregation", "measure"), network.measured_in, strict=True)),
        "trained on": network.name,
        "layers": judged.layers,
        "τ": _estimate(judged.whole),
        "τ without the first": _estimate(judged.rest),
        "rises": answered,
        "τ before training": _estimate(before.whole) if before else None,
        "rose before": before.answer if before else None,
        "lowest NV": means.extreme(np.argmin),
        "highest NV": means.extreme(np.argmax),
    }


def _estimate(found: Trend) -> Estimate:
    return Estimate(found.tau, found.error)


def _sizes(cases: Sequence[tuple[Network, Judged]], before: dict[tuple[str, ...], Judged]) -> str:
    """Say how much the layer means rise, how many fall instead, and how many did so before training."""
    taus = {name: [each.whole for network, each in cases if network.name == name] for name in PAIR}
    taus["before training"] = [each.whole for each in before.values()]
    told = [f"τ {range_text([*map(_estimate, each)])}, {name}" for name, each in taus.items() if each]
    for verb, is_so in (("rise", lambda each: each.answer == YES), ("fall (τ below −1/3)", lambda each: each.falls)):
        alike = [before.get(network.measured_in) for network, each in cases if is_so(each)]
        so_before = sum(control is not None and is_so(control) for control in alike)
        told.append(f"{len(alike)} {verb}" + (f", {so_before} of them before training too" if before else ""))
    return "; ".join(told)
