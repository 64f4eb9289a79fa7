"""Claim: the lower a layer, the more invariant it is."""

import math
from collections.abc import Callable

import numpy as np

from pytorch.claims.claim import LEVEL, YES, Case, Claim, answer, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Trend, holm, trend
from pytorch.claims.trainings import before_training, learned, rotation_pairs
from pytorch.experiment import PAIR
from pytorch.report.findings import Findings
from pytorch.report.formats import p_text
from pytorch.report.table import Estimate, Table, table_of_rows
from pytorch.variance import VarianceResult

AGGREGATIONS = "mean", "max"
"""Of the paper; NV of the sum is that of the mean."""

STATEMENT = "The normalized variance rises with depth: lower layers are the most invariant."
TEST = (
    "Kendall's rank correlation τ of the layer means (plain) with the order of execution, two-sided, adjusted for the "
    "number of networks (Holm). It takes layers for independent of each other, which neighbours are not: a p-value is "
    "rather too small."
)
CAPTION = (
    "τ is 1 if NV rises from each layer to the next, -1 if it falls; ± is what the errors of the layer means over "
    "samples make of it. Before training: the same of the network with its initial weights, by which a trend of the "
    f"architecture is told from one that training brought about. {TEST} Of several trainings this is the first."
)


def depth_trend(found: Findings) -> tuple[Claim | None, Table]:
    """Judge every network that was measured under rotations; the claim is None if there is none."""
    pairs = [pair for pair in rotation_pairs(found) if pair.aggregation in AGGREGATIONS]
    networks = [(pair, name) for pair in pairs for name in pair.results]
    trends = [_trend(pair.results[name]) for pair, name in networks]
    judged = [learned(pair, name) for pair, name in networks]
    tested = iter(holm([each.p_value for each, counts in zip(trends, judged, strict=True) if counts]))
    rows, cases, alike = [], [], 0
    for (pair, name), each, counts in zip(networks, trends, judged, strict=True):
        p = next(tested) if counts else math.nan
        found_answer = answer(p, each.tau > 0) if counts else AT_CHANCE
        before = before_training(found, pair)
        if counts:
            cases.append(Case((pair.model, pair.dataset, pair.aggregation, name), found_answer))
            alike += found_answer == YES and before is not None and _rises(before)
        rows.append({
            "model": pair.model,
            "dataset": pair.dataset,
            "aggregation": pair.aggregation,
            "trained on": name,
            "layers": len(pair.results[name].layer_names),
            "τ": Estimate(each.tau, each.error),
            "p": p_text(p),
            "rises": found_answer,
            "τ before training": _tau(before),
            "lowest NV": _extreme(pair.results[name], np.nanargmin),
            "highest NV": _extreme(pair.results[name], np.nanargmax),
        })  # fmt: skip
    table = table_of_rows("depth-trend", "Normalized variance against depth", CAPTION, rows)
    if not cases:
        return None, table
    ranges = {name: range_text([row["τ"] for row in rows if row["trained on"] == name]) for name in PAIR}
    control = range_text([row["τ before training"] for row in rows if row["τ before training"]])
    sizes = "; ".join([f"τ {text}, {name}" for name, text in ranges.items()] + [f"{control}, before training"])
    rising = sum(case.answer == YES for case in cases)
    sizes += f"; of the {rising} that rise, {alike} do so before training" if rising and control != "–" else ""
    return Claim(STATEMENT, "Kendall's τ, Holm", sizes, cases), table


def _trend(result: VarianceResult) -> Trend:
    return trend(np.array([*result.layer_means().values()]), np.array([*result.layer_errors().values()]))


def _rises(result: VarianceResult) -> bool:
    """Whether a network has the claimed trend, for all that this one test tells."""
    each = _trend(result)
    return each.tau > 0 and each.p_value < LEVEL


def _tau(result: VarianceResult | None) -> Estimate | None:
    if result is None:
        return None
    each = _trend(result)
    return Estimate(each.tau, each.error)


def _extreme(result: VarianceResult, which: Callable[[np.ndarray], int]) -> str:
    """Name the layer with the lowest or highest mean, and its place among all."""
    values = np.array([*result.layer_means().values()])
    if not np.isfinite(values).any():
        return ""
    index = int(which(np.where(np.isfinite(values), values, np.nan)))
    return f"{result.layer_names[index]} ({index + 1} of {len(values)}): {values[index]:.2f}"
