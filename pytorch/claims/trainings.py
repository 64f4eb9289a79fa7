"""Which measurements a claim is put to: those of the first training, and those of others with other seeds."""

from collections.abc import Sequence

from pytorch.claims.learning import chance, has_learned
from pytorch.experiments.recipes import recipe_for
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR
from pytorch.files.checked_fields import Setting
from pytorch.models import MODELS
from pytorch.report import controls
from pytorch.report.findings import Findings
from pytorch.report.published import published_dataset


def first_pair(found: Findings, model: str, dataset: str, aggregation: str) -> VariancePair | None:
    """Find the measurement of rotations that a published one is laid beside; a copy stands in for a data set."""
    pairs = [
        pair
        for pair in rotation_pairs(found)
        if (pair.model, published_dataset(pair.dataset), pair.aggregation) == (model, dataset, aggregation)
    ]
    return min(pairs, key=lambda pair: pair.dataset != dataset, default=None)


def rotation_pairs(found: Findings) -> list[VariancePair]:
    """Return the measurements of rotations, without controls."""
    pairs = [measured.pair for measured in found.measured]
    return [pair for pair in pairs if pair.control is None and pair.transformation == "rotation"]


def before_training(found: Findings, pair: VariancePair) -> VariancePair | None:
    """Find what was measured of a pair's network before its training, on as many samples; None if it was not."""
    return controls.before_training(pair, [measured.pair for measured in found.measured])


def all_trainings(found: Findings, pair: VariancePair) -> list[VariancePair]:
    """Return a measurement, and those that differ from it in the seed and the weights of the training alone."""
    trainings = [pair]
    for other in found.repeats:
        new = all(set(other.weights.values()).isdisjoint(each.weights.values()) for each in trainings)
        if new and _what(other) == _what(pair):
            trainings.append(other)
    return trainings


def uncounted(found: Findings) -> list[VariancePair]:
    """Measurements of further seeds that count in no claim: they differ from the first in more than the seed."""
    first = [measured.pair for measured in found.measured]
    counted = {id(each) for pair in first for each in all_trainings(found, pair)}
    return [pair for pair in found.repeats if pair.control is None and id(pair) not in counted]


def _what(pair: VariancePair) -> tuple:
    settings = [{**training, "seed": None} for training in pair.training.values()]
    result = pair.any_result
    return (
        pair.model, pair.dataset, pair.transformation, pair.aggregation, pair.control, settings,
        result.transformations, controls.samples_offered(pair), result.tolerance, result.precision,
    )  # fmt: skip


def training_text(pair: VariancePair) -> str:
    """Say how the models of a pair were trained; see ``epochs_text``."""
    trainings = [pair.training.get(name, {}) for name in PAIR]
    epochs = [training.get("epochs", "?") for training in trainings]
    return epochs_text(pair.model, pair.dataset, epochs, trainings[0].get("training samples", "?"))


def epochs_text(model: str, dataset: str, epochs: Sequence[Setting], images: Setting) -> str:
    """Write epochs and images of a training, and the recipe's epochs where there is one and they are others."""
    shortened = ""
    if model in MODELS:
        recipe = recipe_for(model, dataset)
        usual = [recipe.epochs, recipe.rotated_epochs]
        shortened = "" if epochs == usual else f" (recipe: {usual[0]} + {usual[1]})"
    copy = "" if published_dataset(dataset) == dataset else f", {dataset}"
    return f"{epochs[0]} + {epochs[1]} epochs{shortened} of {images} images{copy}"


def learned(pair: VariancePair, name: str) -> bool:
    """Whether a network of a pair classifies better than by chance; one of unknown accuracy is taken at its word."""
    accuracy, curve = pair.accuracy.get(name, {}).get("upright"), pair.angle_curves.get(name)
    result = pair.any_result
    if accuracy is None or not result.classes:
        return True
    samples = sum(curve.counts) if curve else result.samples
    return has_learned(accuracy, samples, chance(curve, len(result.classes)))
