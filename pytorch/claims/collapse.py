"""Claim: accuracy on rotated data collapses unless training samples are rotated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from pytorch.claims.claim import NO, UNCLEAR, YES, Case, Claim, range_text
from pytorch.claims.learning import AT_CHANCE, chance, has_learned, proportion_error
from pytorch.claims.significance import UPPER
from pytorch.claims.trainings import epochs_text, training_counts
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.vocabulary import PAIR, ROTATED, UNROTATED
from pytorch.report.findings import Findings, Trained
from pytorch.report.table import Estimate, Row, Table, table_of_rows

COLLAPSE, KEEPING = 0.5, 0.05
"""Fractions of the accuracy above chance: the least loss of a model that collapses, the most of one that does not."""

STATEMENT = (
    "On rotated data, a network trained without rotation loses more than half of its accuracy above chance; one "
    "trained with it, less than a twentieth."
)
TEST = (
    "Loss: (upright − rotated) / (upright − chance), where chance is the share of the largest class. Its 95 % interval "
    "must clear the bound. Its error is binomial over the test images, with both accuracies taken as independent. "
    "Several trainings are evaluated on the same images; their spread is added to the error, by Student's t."
)
CAPTION = f"Accuracies, and the fraction of the accuracy above chance that is lost on rotated test data. {TEST}"


@dataclass(frozen=True)
class Loss:
    """Fraction of the accuracy above chance that is lost on rotated data, of one training or averaged over several.

    Attributes:
        value: The fraction; NaN if a model has learned nothing that it could lose.
        over_images: Standard error over test images, which all trainings share.
        over_trainings: Standard error over trainings; 0 for one training.
        trainings: Number of trainings.
    """

    value: float
    over_images: float
    over_trainings: float = 0.0
    trainings: int = 1

    @classmethod
    def mean(cls, losses: Sequence["Loss"]) -> "Loss":
        """Average the losses of several trainings."""
        values, count = np.array([loss.value for loss in losses]), len(losses)
        over_trainings = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
        return cls(float(values.mean()), float(np.mean([loss.over_images for loss in losses])), over_trainings, count)

    @property
    def estimate(self) -> Estimate:
        """The loss with both errors combined."""
        return Estimate(self.value, math.hypot(self.over_images, self.over_trainings))

    @property
    def half_width(self) -> float:
        """Half the width of the confidence interval."""
        of_trainings = special.stdtrit(self.trainings - 1, UPPER) * self.over_trainings if self.trainings > 1 else 0.0
        return math.hypot(special.ndtri(UPPER) * self.over_images, of_trainings)


def collapse(found: Findings) -> tuple[Claim | None, Table]:
    """Judge every trained pair; the claim is None without a case."""
    rows, cases = [], []
    for (model, dataset), trained in found.trained.items():
        losses = {name: Loss.mean([_loss(pair[name]) for pair in trained.pairs]) for name in PAIR}
        if any(math.isnan(loss.value) for loss in losses.values()):
            found_answer = AT_CHANCE
        else:
            found_answer = _answer(losses)
            cases.append(Case((model, dataset), found_answer))
        rows.append({"model": model, "dataset": dataset, **_cells(trained, losses), "as claimed": found_answer})
    table = table_of_rows("collapse", "Accuracy on rotated data", CAPTION, rows)
    if not cases:
        return None, table
    counted = [row for row in rows if row["as claimed"] != AT_CHANCE]
    lost = {name: range_text([row[f"{name} model, loss"] for row in counted]) for name in PAIR}
    numbers = sorted({row["trainings"] for row in counted})
    sizes = f"lost {lost[UNROTATED]} without rotation, {lost[ROTATED]} with it; {training_counts(numbers)}"
    return Claim(STATEMENT, "95 % intervals, not adjusted for their number", sizes, cases), table


def _cells(trained: Trained, losses: dict[str, Loss]) -> Row:
    first = trained.pairs[0][UNROTATED]
    cells: Row = {"trainings": len(trained.pairs), "test images": first.test_samples}
    for name in PAIR:
        for data in ("upright", "rotated"):
            mean = np.mean([pair[name].accuracy[data] for pair in trained.pairs])
            cells[f"{name} model, {data} data"] = f"{100 * mean:.2f} %"
        cells[f"{name} model, loss"] = losses[name].estimate
    epochs = [trained.pairs[0][name].epochs for name in PAIR]
    return {**cells, "training": epochs_text(first.model, first.dataset, epochs, first.samples)}


def _loss(model: TrainedModel) -> Loss:
    """Loss of one training; its error is that of a ratio of independent binomial proportions, by linearisation."""
    upright, rotated = model.accuracy["upright"], model.accuracy["rotated"]
    guess = chance(model.angle_curve, len(model.classes))
    if not has_learned(upright, model.test_samples, guess):
        return Loss(math.nan, math.nan)
    kept = (rotated - guess) / (upright - guess)
    of_upright, of_rotated = (proportion_error(each, model.test_samples) for each in (upright, rotated))
    return Loss(1 - kept, math.hypot(of_rotated, kept * of_upright) / (upright - guess))


def _answer(losses: dict[str, Loss]) -> str:
    """Yes if both models clear their bounds, no if one clears its bound on the wrong side."""
    margins = [
        (loss.value - COLLAPSE if name == UNROTATED else KEEPING - loss.value, loss.half_width)
        for name, loss in losses.items()
    ]
    if all(margin > wide for margin, wide in margins):
        return YES
    return NO if any(margin < -wide for margin, wide in margins) else UNCLEAR
