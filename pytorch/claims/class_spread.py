"""Claim: how variant the output is to rotations depends on the class."""

from collections.abc import Callable, Sequence

import numpy as np

from pytorch.claims.claim import UNCLEAR, YES, Case, Claim, answer, range_text
from pytorch.claims.learning import AT_CHANCE
from pytorch.claims.significance import Spread, holm, holm_of_cases, spread
from pytorch.claims.trainings import before_training, learned, rotation_pairs
from pytorch.experiments.variance_pair import VariancePair
from pytorch.report.findings import Findings
from pytorch.report.formats import p_text
from pytorch.report.table import Estimate, Table, table_of_rows
from pytorch.variance import VarianceResult

STATEMENT = "The normalized variance of the output differs from class to class by more than its error."
TEST = (
    "Cochran's Q of the classes, whose samples are independent of each other's, against χ² with one degree of freedom "
    "less than there are classes; p-values are adjusted for the number of networks (Holm). It can "
    "affirm the claim and not refute it."
)
CAPTION = (
    "NV of the last layer (its mean over units) within each class, under rotations: its mean over classes, the "
    "standard deviation between the classes beyond what the errors over samples account for (Hedges & Olkin), by "
    "itself and relative to that mean, the mean of these errors, and the extremes. Before training: the same of the "
    f"network with its initial weights, whose classes may differ, too. {TEST} With many samples any difference is "
    "seen: look at the deviation. With fewer than about a hundred samples of a class its errors are somewhat too "
    "short, and a yes comes more easily. Of several trainings this is the first."
)


def class_spread(found: Findings) -> tuple[Claim | None, Table]:
    """Judge the output of every network; the claim is None if no labelled samples were measured."""
    pairs = _one_of_each(found)
    networks = [(pair, name) for pair in pairs for name in pair.results if len(pair.results[name].classes) > 1]
    spreads = [spread(*_output(pair.results[name])) for pair, name in networks]
    judged = [learned(pair, name) for pair, name in networks]
    tested = holm_of_cases([each.p_value for each in spreads], judged)
    before = _before_training(found, pairs)
    rows, cases, as_before = [], [], []
    for (pair, name), each, p, counts in zip(networks, spreads, tested, judged, strict=True):
        values, _ = _output(pair.results[name])
        found_answer = answer(p, agrees=True) if counts else AT_CHANCE
        control, differed = before.get((pair.model, pair.dataset), (None, UNCLEAR))
        if counts:
            cases.append(Case((pair.model, pair.dataset, name), found_answer))
            as_before.append(found_answer == differed == YES)
        low, high = (_class(pair.results[name], values, which) for which in (np.nanargmin, np.nanargmax))
        rows.append({
            "model": pair.model,
            "dataset": pair.dataset,
            "trained on": name,
            "layer": pair.results[name].layer_names[-1],
            "samples of a class": _counts(pair.results[name]),
            "mean over classes": Estimate(each.mean, np.nan),
            "deviation between classes": Estimate(each.deviation, np.nan),
            "relative deviation": _relative(each),
            "error of a class": Estimate(each.error, np.nan),
            "least": low,
            "most": high,
            "before training": control and Estimate(control.deviation, np.nan),
            "relative deviation before training": control and _relative(control),
            "p": p_text(p),
            "differs": found_answer,
        })  # fmt: skip
    table = table_of_rows("class-spread", "The output, class by class", CAPTION, rows)
    if not cases:
        return None, table
    counted = [row for row in rows if row["differs"] != AT_CHANCE]
    sizes = {
        what: range_text([row[head] for row in counted if row[head]])
        for what, head in {
            "deviations between classes": "deviation between classes",
            "errors": "error of a class",
            "deviations before training": "before training",
        }.items()
    }
    told = ", ".join(f"{what} {text}" for what, text in sizes.items())
    if before:
        told += (
            f"; of the {sum(case.answer == YES for case in cases)} that differ, {sum(as_before)} did so before training"
        )
    return Claim(STATEMENT, "Cochran's Q, Holm", told, cases), table


def _before_training(found: Findings, pairs: Sequence[VariancePair]) -> dict[tuple[str, str], tuple[Spread, str]]:
    """Judge the networks of the pairs as they were before training, where that was measured, together."""
    results = {(pair.model, pair.dataset): result for pair in pairs if (result := before_training(found, pair))}
    spreads = {of: spread(*_output(result)) for of, result in results.items() if len(result.classes) > 1}
    tested = holm([each.p_value for each in spreads.values()])
    return {of: (each, answer(p, agrees=True)) for (of, each), p in zip(spreads.items(), tested, strict=True)}


def _one_of_each(found: Findings) -> list[VariancePair]:
    """Take one measurement of each pair: on outputs, which are no maps, all aggregations agree."""
    pairs: dict[tuple[str, str], VariancePair] = {}
    for pair in rotation_pairs(found):
        pairs.setdefault((pair.model, pair.dataset), pair)
    return [*pairs.values()]


def _output(result: VarianceResult) -> tuple[np.ndarray, np.ndarray]:
    """NV of the last layer in each class, and its errors, (K,) both."""
    layer = result.layer_names[-1]
    values = [result.layer_means(name)[layer] for name in result.classes]
    return np.array(values), np.array([result.layer_errors(name)[layer] for name in result.classes])


def _counts(result: VarianceResult) -> str:
    """The smallest and the largest class."""
    return " to ".join(dict.fromkeys(str(each) for each in (result.class_counts.min(), result.class_counts.max())))


def _class(result: VarianceResult, values: np.ndarray, which: Callable[[np.ndarray], int]) -> str:
    """Name the class with the lowest or highest value."""
    if not np.isfinite(values).any():
        return ""
    index = int(which(values))
    return f"{result.classes[index]} ({values[index]:.2f})"


def _relative(found: Spread) -> str:
    """The deviation between classes in relation to their mean."""
    known = np.isfinite(found.deviation) and found.mean > 0
    return f"{100 * found.deviation / found.mean:.1f} %" if known else "–"
