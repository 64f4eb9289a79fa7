"""Claim: after training on rotated samples, a network is less variant to rotations. The published comparisons."""

import math
from collections.abc import Sequence

import numpy as np

from pytorch.claims.claim import Case, Claim, answer, range_text
from pytorch.claims.significance import holm, t_test, z_test
from pytorch.claims.trainings import all_trainings, first_pair, training_text
from pytorch.experiment import PAIR, ROTATED, UNROTATED
from pytorch.report.findings import Findings
from pytorch.report.formats import p_text
from pytorch.report.published import DATASETS, NETWORKS, notes, published_global_mean
from pytorch.report.table import Estimate, Row, Table, table_of_rows
from pytorch.variance.result import ALL, STRATIFIED
from pytorch.variance_pair import VariancePair

AGGREGATIONS = "mean", "max"
MEASURES = {ALL: "plain", STRATIFIED: "stratified"}

STATEMENT = "Training on rotated samples lowers the normalized variance, its global mean over all units."
TEST = (
    "Of one training each, z of the difference; its error is the sum of both models' errors over samples, which is "
    "never too small, however they hang together: it judges these two networks. Of several trainings, Student's t of "
    "their differences, on the same samples: it judges such trainings. p-values are two-sided and adjusted for the "
    "number of comparisons (Holm)."
)
CAPTION = (
    "NV = TV / SV under rotations, its global mean, for each of the comparisons that were published in 2019. "
    f"Difference: rotated − unrotated; p < 0.05 and a difference below 0 make a yes. {TEST}"
)


def comparisons(found: Findings) -> tuple[Claim | None, Table]:
    """Lay every published comparison beside what was measured.

    Returns:
        The claim, None if none of them was measured; and a table, without rows likewise.
    """
    keys = [(m, d, a, g) for m in NETWORKS for d in DATASETS for a in AGGREGATIONS for g in MEASURES]
    pairs = {key: pair for key in keys if (pair := first_pair(found, *key[:3])) and key[3] in pair.any_result.groups}
    trainings = {key: all_trainings(found, pair) for key, pair in pairs.items()}
    measured = {key: _differences(each, key[3]) for key, each in trainings.items()}
    tested = dict(zip(measured, holm([p for _, p in measured.values()]), strict=True))
    rows, cases = [], []
    for key in keys if measured else ():
        row = _named(key)
        if key in measured:
            estimates, _ = measured[key]
            found_answer = answer(tested[key], estimates["difference"].value < 0)
            cases.append(Case((*row.values(),), found_answer))
            measures = {"lower": found_answer, **estimates, "p": p_text(tested[key])}
            trained = training_text(pairs[key])
        else:
            measures = {"lower": "not measured", **dict.fromkeys((*PAIR, "difference", "p"))}
            trained = None
        rows.append({**row, **measures, **_published(key), "training": trained})
    caption = " ".join([CAPTION, *notes([(pair.model, pair.dataset) for pair in pairs.values()])])
    table = table_of_rows("comparisons", "The published comparisons", caption, rows)
    if not cases:
        return None, table
    numbers = sorted({len(each) for each in trainings.values()})
    counts = f"trainings of each pair: {', '.join(map(str, numbers))}"
    differences = range_text([estimates["difference"] for estimates, _ in measured.values()])
    return Claim(STATEMENT, "z or Student's t, Holm", f"differences {differences}; {counts}", cases, len(keys)), table


def _named(key: tuple[str, str, str, str]) -> Row:
    model, dataset, aggregation, group = key
    return {"model": model, "dataset": dataset, "aggregation": aggregation, "measure": MEASURES[group]}


def _differences(trainings: Sequence[VariancePair], group: str) -> tuple[dict[str, Estimate], float]:
    """Return both global means and their difference, each with its error, and the p-value of the difference."""
    means = {name: np.array([pair.results[name].global_mean(group) for pair in trainings]) for name in PAIR}
    differences = means[ROTATED] - means[UNROTATED]
    if len(trainings) > 1:
        values = {**means, "difference": differences}
        error = {name: float(each.std(ddof=1)) / math.sqrt(len(each)) for name, each in values.items()}
        p = t_test(differences)
    else:
        error = {name: trainings[0].results[name].global_error(group) for name in PAIR}
        error["difference"] = error[ROTATED] + error[UNROTATED]
        p = z_test(differences[0], error["difference"])
    values = {**means, "difference": differences}
    return {name: Estimate(float(each.mean()), error[name]) for name, each in values.items()}, p


def _published(key: tuple[str, str, str, str]) -> Row:
    model, dataset, aggregation, group = key
    values = {name: published_global_mean(model, dataset, "rotation", aggregation, name, group) for name in PAIR}
    cells = {f"2019 {name}": Estimate(value, math.nan) for name, value in values.items()}
    return {**cells, "2019 difference": Estimate(values[ROTATED] - values[UNROTATED], math.nan)}
