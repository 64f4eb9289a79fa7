"""Claim: the lower a layer, the more invariant it is."""

from collections.abc import Callable

import numpy as np

from pytorch.claims.claim import Case, Claim, answer, range_text
from pytorch.claims.significance import Trend, holm, trend
from pytorch.claims.trainings import before_training, rotation_pairs
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
    f"architecture is told from one that training brought about. {TEST}"
)


def depth_trend(found: Findings) -> tuple[Claim | None, Table]:
    """Judge every network that was measured under rotations; the claim is None if there is none."""
    pairs = [pair for pair in rotation_pairs(found) if pair.aggregation in AGGREGATIONS]
    networks = [(pair, name) for pair in pairs for name in pair.results]
    trends = [_trend(pair.results[name]) for pair, name in networks]
    tested = holm([each.p_value for each in trends])
    rows, cases = [], []
    for (pair, name), each, p in zip(networks, trends, tested, strict=True):
        found_answer = answer(p, each.tau > 0)
        cases.append(Case((pair.model, pair.dataset, pair.aggregation, name), found_answer))
        rows.append({
            "model": pair.model,
            "dataset": pair.dataset,
            "aggregation": pair.aggregation,
            "trained on": name,
            "layers": len(pair.results[name].layer_names),
            "τ": Estimate(each.tau, each.error),
            "p": p_text(p),
            "rises": found_answer,
            "τ before training": _tau(before_training(found, pair)),
            "lowest NV": _extreme(pair.results[name], np.nanargmin),
            "highest NV": _extreme(pair.results[name], np.nanargmax),
        })  # fmt: skip
    table = table_of_rows("depth-trend", "Normalized variance against depth", CAPTION, rows)
    if not cases:
        return None, table
    ranges = {name: range_text([row["τ"] for row in rows if row["trained on"] == name]) for name in PAIR}
    before = range_text([row["τ before training"] for row in rows if row["τ before training"]])
    sizes = "; ".join([f"τ {text}, {name}" for name, text in ranges.items()] + [f"{before}, before training"])
    return Claim(STATEMENT, "Kendall's τ, Holm", sizes, cases), table


def _trend(result: VarianceResult) -> Trend:
    return trend(np.array([*result.layer_means().values()]), np.array([*result.layer_errors().values()]))


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
