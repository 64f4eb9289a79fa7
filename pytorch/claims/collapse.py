"""Claim: accuracy on rotated data collapses without rotation in training, and not with it."""

import math

import numpy as np
from scipy import stats

from pytorch.claims.claim import NO, UNCLEAR, YES, Case, Claim, range_text
from pytorch.claims.learning import AT_CHANCE, chance, has_learned, proportion_error
from pytorch.claims.trainings import epochs_text
from pytorch.experiment import PAIR, ROTATED, UNROTATED
from pytorch.report.findings import Findings, Trained
from pytorch.report.table import Estimate, Row, Table, table_of_rows
from pytorch.trained_model import TrainedModel

COLLAPSE, KEEPING = 0.5, 0.05
"""Of the accuracy above chance: what a model that collapses loses at least, and one that does not at most."""

CONFIDENCE = 0.95
"""Of the interval of a loss, which must clear its bound."""

STATEMENT = (
    "Without rotation in training a network loses more than half of its accuracy above chance on rotated data; with "
    "it, less than a twentieth."
)
TEST = (
    "Loss: (upright − rotated) / (upright − chance), where chance is the share of the largest class. Its 95 % interval "
    "must clear the bound. Its error is that over the test images, binomial, both accuracies taken as independent; of "
    "several trainings that over trainings, where it is larger; the interval is then that of Student's t for so few."
)
CAPTION = f"Accuracies and the part of the accuracy above chance that is lost on rotated test data. {TEST}"


def collapse(found: Findings) -> tuple[Claim | None, Table]:
    """Judge every trained pair; the claim is None, and the table without rows, if there is none."""
    rows, cases = [], []
    for (model, dataset), trained in found.trained.items():
        losses = {name: _loss(trained, name) for name in PAIR}
        if any(math.isnan(loss.value) for loss in losses.values()):
            found_answer = AT_CHANCE
        else:
            found_answer = _answer(losses, len(trained.pairs))
            cases.append(Case((model, dataset), found_answer))
        rows.append({"model": model, "dataset": dataset, **_cells(trained, losses), "as claimed": found_answer})
    table = table_of_rows("collapse", "Accuracy on rotated data", CAPTION, rows)
    if not cases:
        return None, table
    counted = [row for row in rows if row["as claimed"] != AT_CHANCE]
    lost = {name: range_text([row[f"{name} model, loss"] for row in counted]) for name in PAIR}
    numbers = sorted({row["trainings"] for row in counted})
    counts = f"trainings of each pair: {', '.join(map(str, numbers))}"
    sizes = f"lost {lost[UNROTATED]} without rotation, {lost[ROTATED]} with it; {counts}"
    return Claim(STATEMENT, "95 % intervals, each by itself", sizes, cases), table


def _cells(trained: Trained, losses: dict[str, Estimate]) -> Row:
    first = trained.pairs[0][UNROTATED]
    cells: Row = {"trainings": len(trained.pairs)}
    for name in PAIR:
        for data in ("upright", "rotated"):
            mean = np.mean([pair[name].accuracy[data] for pair in trained.pairs])
            cells[f"{name} model, {data} data"] = f"{100 * mean:.2f} %"
        cells[f"{name} model, loss"] = losses[name]
    epochs = [trained.pairs[0][name].epochs for name in PAIR]
    return {**cells, "training": epochs_text(first.model, first.dataset, epochs, first.samples)}


def _loss(trained: Trained, name: str) -> Estimate:
    """The part of the accuracy above chance that is lost on rotated data, with its standard error."""
    losses = [_one_loss(pair[name]) for pair in trained.pairs]
    values, count = np.array([loss.value for loss in losses]), len(losses)
    over_images = float(np.mean([loss.error for loss in losses])) / math.sqrt(count)
    over_trainings = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return Estimate(float(values.mean()), max(over_images, over_trainings))


def _one_loss(model: TrainedModel) -> Estimate:
    """Of one training, with the error of a ratio of independent binomial proportions, by linearisation.

    NaN if it has learned nothing that it could lose.
    """
    upright, rotated, guess = model.accuracy["upright"], model.accuracy["rotated"], _chance(model)
    if not has_learned(upright, model.test_samples, guess):
        return Estimate(math.nan, math.nan)
    kept = (rotated - guess) / (upright - guess)
    of_upright, of_rotated = (proportion_error(each, model.test_samples) for each in (upright, rotated))
    return Estimate(1 - kept, math.hypot(of_rotated, kept * of_upright) / (upright - guess))


def _chance(model: TrainedModel) -> float:
    return chance(model.angle_curve, len(model.classes))


def _answer(losses: dict[str, Estimate], trainings: int) -> str:
    """Yes if both models surely do as claimed, no if one surely does not."""
    width = float(stats.t.ppf((1 + CONFIDENCE) / 2, trainings - 1 or math.inf))  # of one training the normal quantile
    margins = []
    for name, loss in losses.items():
        margin = loss.value - COLLAPSE if name == UNROTATED else KEEPING - loss.value
        margins.append((margin, width * loss.error))
    if all(margin > wide for margin, wide in margins):
        return YES
    return NO if any(margin < -wide for margin, wide in margins) else UNCLEAR
