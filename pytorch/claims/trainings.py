"""Find the measurements that a claim is tested on: those of the first training, and those of other seeds."""

from collections.abc import Sequence

from pytorch.claims.learning import chance, has_learned
from pytorch.experiments.protocol import Protocol, Setting
from pytorch.experiments.published import published_dataset
from pytorch.experiments.recipes import recipe_for
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR
from pytorch.models import MODELS
from pytorch.report.findings import Findings


def first_pair(found: Findings, model: str, dataset: str, aggregation: str) -> VariancePair | None:
    """Find the measurement to compare with a published one; a copy of a data set replaces a missing original."""
    pairs = [
        pair
        for pair in rotation_pairs(found)
        if (pair.model, published_dataset(pair.dataset), pair.aggregation) == (model, dataset, aggregation)
    ]
    return min(pairs, key=lambda pair: pair.dataset != dataset, default=None)


def rotation_pairs(found: Findings) -> list[VariancePair]:
    """Return the measurements of pairs under rotations, without controls."""
    return [pair for pair in found.pairs if pair.is_pair and pair.control is None and pair.transformation == "rotation"]


def all_trainings(found: Findings, pair: VariancePair) -> list[VariancePair]:
    """Return a measurement, and all that differ from it only in the seed and the weights of the training."""
    trainings = [pair]
    for other in found.repeats:
        new = all(set(other.weights.values()).isdisjoint(each.weights.values()) for each in trainings)
        if new and _is_repetition(other, pair):
            trainings.append(other)
    return trainings


def training_counts(numbers: Sequence[int]) -> str:
    """Say how often each pair was trained, from the different numbers in increasing order.

    >>> training_counts([1]), training_counts([1, 3])
    ('each trained once', 'each trained 1 to 3 times')
    """
    if [*numbers] == [1]:
        return "each trained once"
    return f"each trained {' to '.join(map(str, dict.fromkeys([numbers[0], numbers[-1]])))} times"


def uncounted(found: Findings) -> list[VariancePair]:
    """Return measurements of further seeds that count in no claim: they differ in more than the seed."""
    counted = {id(each) for pair in found.pairs for each in all_trainings(found, pair)}
    return [pair for pair in found.repeats if pair.control is None and id(pair) not in counted]


def _is_repetition(other: VariancePair, pair: VariancePair) -> bool:
    """Whether two measurements differ in seeds and weights alone."""
    differs = other.protocol.differences(pair.protocol, ignore=["seed", "weights"])
    if differs or other.training.keys() != pair.training.keys():
        return False
    return not any(
        Protocol(other.training[name]).differences(Protocol(training), ignore=["seed"])
        for name, training in pair.training.items()
    )


def training_text(pair: VariancePair) -> str:
    """Describe the training of a pair; see ``epochs_text``."""
    trainings = [pair.training.get(name, {}) for name in PAIR]
    epochs = [training.get("epochs", "?") for training in trainings]
    return epochs_text(pair.model, pair.dataset, epochs, trainings[0].get("training samples", "?"))


def epochs_text(model: str, dataset: str, epochs: Sequence[Setting], images: Setting) -> str:
    """Describe a training by its epochs and images, and by the epochs of its recipe if they differ."""
    shortened = ""
    if model in MODELS:
        recipe = recipe_for(model, dataset)
        usual = [recipe.epochs, recipe.rotated_epochs]
        shortened = "" if epochs == usual else f" (recipe: {usual[0]} + {usual[1]})"
    copy = "" if published_dataset(dataset) == dataset else f", {dataset}"
    return f"{epochs[0]} + {epochs[1]} epochs{shortened} of {images} images{copy}"


def learned(pair: VariancePair, name: str) -> bool:
    """Whether a network of a pair classifies better than by chance; if its accuracy is unknown, assume so."""
    accuracy, curve = pair.accuracy.get(name, {}).get("upright"), pair.angle_curves.get(name)
    result = pair.any_result
    if accuracy is None or not result.classes:
        return True
    samples = sum(curve.counts) if curve else result.samples
    return has_learned(accuracy, samples, chance(curve, len(result.classes)))
