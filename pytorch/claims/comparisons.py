"""Claim: training on rotated samples makes a network less variant to rotations."""

import math
from collections.abc import Sequence

import numpy as np

from pytorch.claims.claim import Case, Claim, answer, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import holm, t_test, z_test
from pytorch.claims.trainings import (
    all_trainings,
    first_pair,
    learned,
    rotation_pairs,
    training_counts,
    training_text,
)
from pytorch.experiments.published import AGGREGATIONS, DATASETS, NETWORKS, notes, published_global_mean
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR, ROTATED, UNROTATED
from pytorch.report.findings import Findings
from pytorch.report.formats import p_text
from pytorch.report.rows import global_row
from pytorch.report.table import Estimate, Row, Table, table_of_rows
from pytorch.variance.result import GROUP_TITLES

STATEMENT = (
    "Training on rotated instead of upright samples lowers the normalized variance (its global mean over all units)."
)
TEST = (
    "With one training of each pair: z of the difference, whose error is the sum of both models' errors over samples, "
    "an upper bound whatever their correlation. This judges these two networks. With several trainings: Student's t of "
    "their differences, measured on the same samples. This judges such trainings. p-values are two-sided and adjusted "
    "for the number of comparisons (Holm)."
)
CAPTION = (
    "Global mean of NV = TV / SV under rotations. Difference: rotated − unrotated; p < 0.05 and a difference below 0 "
    f"make a yes. If the rotated model was trained for more epochs, this contributes to the difference. {TEST}"
)

Key = tuple[str, str, str, str]
"""Model, data set, aggregation and group of a comparison."""

PUBLISHED: list[Key] = [(m, d, a, g) for m in NETWORKS for d in DATASETS for a in AGGREGATIONS for g in GROUP_TITLES]


def comparisons(found: Findings) -> tuple[Claim | None, Table]:
    """Judge the published comparisons; the claim is None, and the table empty, if none was measured."""
    pairs = {key: pair for key in PUBLISHED if (pair := first_pair(found, *key[:3]))}
    claim, rows = _judged(found, pairs, STATEMENT, len(PUBLISHED))
    if pairs:
        absent = {"lower": "not measured", **dict.fromkeys((*PAIR, "difference", "p", "training"))}
        rows = {key: {**rows.get(key, _named(key) | absent), **_published(key)} for key in PUBLISHED}
    compared = [(pair.model, pair.dataset) for pair in pairs.values()]
    caption = " ".join([f"All comparisons published in 2019. {CAPTION}", *notes(compared)])
    return claim, table_of_rows("comparisons", "The published comparisons", caption, [*rows.values()])


def further_comparisons(found: Findings) -> tuple[Claim | None, Table]:
    """Judge the pairs of models and data sets that were not published; see ``comparisons``."""
    shown = [first_pair(found, *key[:3]) for key in PUBLISHED]
    further = [pair for pair in rotation_pairs(found) if pair not in shown and pair.aggregation in AGGREGATIONS]
    pairs = {(pair.model, pair.dataset, pair.aggregation, group): pair for pair in further for group in GROUP_TITLES}
    statement = f"{STATEMENT.removesuffix('.')}, for models and data sets that were not published."
    claim, rows = _judged(found, pairs, statement)
    caption = f"Models and data sets that were not published. {CAPTION}"
    return claim, table_of_rows("further-comparisons", "Further comparisons", caption, [*rows.values()])


def _judged(
    found: Findings, pairs: dict[Key, VariancePair], statement: str, expected: int | None = None
) -> tuple[Claim | None, dict[Key, Row]]:
    """Compare the models of each pair; only pairs that have learned something are cases of the claim."""
    pairs = {key: pair for key, pair in pairs.items() if key[3] in pair.any_result.summary_groups}
    trainings = {key: all_trainings(found, pair) for key, pair in pairs.items()}
    measured = {key: _differences(each, key[3]) for key, each in trainings.items()}
    judged = [key for key, pair in pairs.items() if all(learned(pair, name) for name in PAIR)]
    tested = dict(zip(judged, holm([measured[key][1] for key in judged]), strict=True))
    rows, cases = {}, []
    for key, (estimates, _) in measured.items():
        row, found_answer = _named(key), AT_CHANCE
        if key in tested:
            found_answer = answer(tested[key], estimates["difference"].value < 0)
            cases.append(Case((pairs[key].model, pairs[key].dataset, row["aggregation"], row["measure"]), found_answer))
        measures = {"lower": found_answer, **estimates, "p": p_text(tested.get(key, math.nan))}
        rows[key] = {**row, **measures, "training": training_text(pairs[key])}
    if not cases:
        return None, rows
    numbers = sorted({len(trainings[key]) for key in judged})
    tests = " or ".join(dict.fromkeys("z" if number == 1 else "Student's t" for number in numbers))
    differences = range_text([measured[key][0]["difference"] for key in judged])
    networks = len({key[:2] for key in judged})
    sizes = f"differences {differences}; {networks} pair{'s' * (networks != 1)} of networks, {training_counts(numbers)}"
    return Claim(statement, f"{tests}, Holm", sizes, cases, expected), rows


def _named(key: Key) -> dict[str, str]:
    model, dataset, aggregation, group = key
    return {"model": model, "dataset": dataset, "aggregation": aggregation, "measure": GROUP_TITLES[group]}


def _differences(trainings: Sequence[VariancePair], group: str) -> tuple[dict[str, Estimate], float]:
    """Return both global means and their difference, with errors, and the p-value of the difference."""
    means = {name: [global_row(pair, name, group) for pair in trainings] for name in PAIR}
    values = {name: np.array([row.value for row in rows]) for name, rows in means.items()}
    values["difference"] = values[ROTATED] - values[UNROTATED]
    if len(trainings) > 1:
        error = {name: float(each.std(ddof=1)) / math.sqrt(len(each)) for name, each in values.items()}
        p = t_test(values["difference"])
    else:
        error = {name: rows[0].standard_error for name, rows in means.items()}
        error["difference"] = error[ROTATED] + error[UNROTATED]
        p = z_test(values["difference"][0], error["difference"])
    return {name: Estimate(float(each.mean()), error[name]) for name, each in values.items()}, p


def _published(key: Key) -> Row:
    model, dataset, aggregation, group = key
    values = {name: published_global_mean(model, dataset, "rotation", aggregation, name, group) for name in PAIR}
    cells = {f"2019 {name}": Estimate(value) for name, value in values.items()}
    return {**cells, "2019 difference": Estimate(values[ROTATED] - values[UNROTATED])}
