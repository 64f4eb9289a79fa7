"""What the experiments produce and keep: trained models, and pairs of measurements."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytorch.checked_fields import Setting, check_fields
from pytorch.datasets import Dataset, Normalization
from pytorch.errors import InputError
from pytorch.evaluation import AngleCurve
from pytorch.models import build_model
from pytorch.recipes import Recipe
from pytorch.training import Epoch
from pytorch.variance import VarianceResult

UNROTATED, ROTATED = "unrotated", "rotated"
PAIR = (UNROTATED, ROTATED)
"""The two models of a pair, by how they were trained."""

UNTRAINED = "untrained"
RANDOM_WEIGHTS, SHUFFLED = "random-weights", "shuffled"
CONTROLS = {RANDOM_WEIGHTS: (UNTRAINED,), SHUFFLED: PAIR}
"""Measurements to compare a pair's with, and the models that each is of."""


def initial_network(model: str, channels: int, classes: int, seed: int) -> nn.Module:
    """Build a network with the fresh weights that a seed gives, whatever else draws random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(model, channels, classes)


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """Types and shapes of the tensors of a network."""
    return {name: (values.dtype, values.shape) for name, values in weights.items()}


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that follow from the state of a network alone, bit for bit."""
    content = hashlib.sha256()
    for name, values in weights.items():
        content.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        content.update(values.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return content.hexdigest()[:16]


@dataclass(frozen=True)
class TrainedModel:
    """A trained model and everything needed to rebuild, judge and repeat it.

    Attributes:
        model: Its architecture, by name.
        dataset: Name of the data set it was trained on.
        trained_on: ``"unrotated"`` or ``"rotated"`` samples.
        channels: Of its input.
        classes: Names of the classes.
        normalization: Constants of its training split.
        recipe: How it was trained.
        precision: In what it was trained and evaluated.
        seed: Of its weights, of the order of samples, and of the angles.
        samples: Number of training samples.
        samples_seed: Of their choice; None: all there are.
        history: A record of each epoch.
        accuracy: On ``upright`` and on ``rotated`` test data, as fractions.
        angle_curve: Accuracy against the angle of the test data; None: not evaluated.
        test_samples: Number of test samples.
        weights: The state of the network.
        versions: Of Python and of the libraries.
        fingerprint: Of the data set; see ``pytorch.datasets.Source``.
    """

    model: str
    dataset: str
    trained_on: str
    channels: int
    classes: list[str]
    normalization: Normalization
    recipe: Recipe
    precision: str
    seed: int
    samples: int
    samples_seed: int | None
    history: list[Epoch]
    accuracy: dict[str, float]
    angle_curve: AngleCurve | None
    test_samples: int
    weights: dict[str, Tensor]
    versions: dict[str, str]
    fingerprint: str = ""

    def __post_init__(self) -> None:
        """Refuse what a file may bring: names that lead out of the folder of figures, and fields of other types.

        Raises:
            ValueError: A name has a path separator in it, or begins with a dot; or a field has another type.
        """
        check_fields(self)
        _check_names(self.model, self.dataset)

    @property
    def epochs(self) -> int:
        """Of this model of the pair."""
        return self.recipe.rotated_epochs if self.trained_on == ROTATED else self.recipe.epochs

    @property
    def settings(self) -> dict[str, Any]:
        """What the weights follow from, but for the number of epochs: the same for both models of a pair."""
        recipe = asdict(self.recipe)
        del recipe["epochs"], recipe["rotated_epochs"]
        return {
            "model": self.model,
            "dataset": self.dataset,
            "fingerprint of the data": self.fingerprint,
            "classes": self.classes,
            "training samples": self.samples,
            "seed of their choice": self.samples_seed,
            "seed": self.seed,
            "precision": self.precision,
            **{name.replace("_", " "): value for name, value in recipe.items()},
        }

    def network(self, *, trained: bool = True) -> nn.Module:
        """Build the network in evaluation mode, on the CPU.

        Args:
            trained: Whether to give it its trained weights, or to leave it those that its training started from.

        Raises:
            InputError: The weights are not those of this architecture.
        """
        with torch.device("meta"):  # takes no memory, however many channels a file claims
            expected = initial_network(self.model, self.channels, len(self.classes), self.seed).state_dict()
        if shapes(self.weights) != shapes(expected):
            raise InputError(f"the weights of the {self.trained_on} model do not fit {self.model}")
        network = initial_network(self.model, self.channels, len(self.classes), self.seed)
        if trained:
            network.load_state_dict(self.weights)
        return network.eval().to(memory_format=torch.channels_last)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and tensors."""
        content = asdict(self)
        for constants in ("mean", "std"):
            content["normalization"][constants] = list(content["normalization"][constants])
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "TrainedModel":
        """Rebuild what ``to_dict`` gave.

        Raises:
            TypeError, KeyError: The content is not that of a trained model.
        """
        normalization = {name: tuple(values) for name, values in content["normalization"].items()}
        parts = {
            "normalization": Normalization(**normalization),
            "recipe": Recipe(**content["recipe"]),
            "history": [Epoch(**epoch) for epoch in content["history"]],
            "angle_curve": content["angle_curve"] and AngleCurve(**content["angle_curve"]),
        }
        return cls(**{**content, **parts})


@dataclass(frozen=True)
class VariancePair:
    """The measurements of both models of a pair, on the same transformed samples, or of a control.

    Attributes:
        model: Architecture, by name.
        dataset: Name of the data set.
        transformation: Name of the transformation set.
        control: None, or a key of ``CONTROLS``.
        results: ``"unrotated"`` and ``"rotated"``, or ``"untrained"``: what was measured.
        accuracy: Likewise: accuracy on ``upright`` and ``rotated`` test data; of an untrained network none.
        angle_curves: Likewise: accuracy against the angle of the test data, where it was evaluated.
        training: Likewise: what its weights follow from.
        weights: Likewise: a digest of its weights.
        source: What ``load_dataset`` takes for the data set: its name, or the path of a folder.
        seed: Of the choice and the order of samples.
        command: That made the measurement.
        machine: It was made on, and ``date`` and ``seconds``: when, and in what time.
        versions: Of Python and of the libraries.
    """

    model: str
    dataset: str
    transformation: str
    control: str | None
    results: dict[str, VarianceResult]
    accuracy: dict[str, dict[str, float]]
    angle_curves: dict[str, AngleCurve]
    training: dict[str, dict[str, Setting]]
    weights: dict[str, str]
    source: str
    seed: int
    command: str
    machine: str
    date: str
    seconds: float
    versions: dict[str, str]

    def __post_init__(self) -> None:
        """Refuse what a file may bring: names that lead out of the folder of figures, and what does not fit together.

        Raises:
            ValueError: A name has a path separator in it, or begins with a dot; a field has another type; or there
                are results of other models than those of a pair, or of the control, or of other layers, classes or
                transformations.
        """
        check_fields(self)
        if self.control not in (None, *CONTROLS) or tuple(self.results) != CONTROLS.get(self.control, PAIR):
            raise ValueError(f"results of {', '.join(self.results)} for the control {self.control}")
        for shared in ("layer_names", "layer_shapes", "classes", "transformations", "aggregation", "dispersion"):
            first, *others = (getattr(result, shared) for result in self.results.values())
            if any(other != first for other in others):
                raise ValueError(f"its two results differ in their {shared.replace('_', ' ')}")
        _check_names(self.model, self.transformation, self.aggregation, self.dataset)

    @property
    def aggregation(self) -> str:
        """How feature maps became units."""
        return self.any_result.aggregation

    @property
    def any_result(self) -> VarianceResult:
        """One of the results, for what they have in common."""
        return next(iter(self.results.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and numpy arrays."""
        return {
            **vars(self),
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "angle_curves": {name: asdict(curve) for name, curve in self.angle_curves.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "VariancePair":
        """Rebuild what ``to_dict`` gave.

        Raises:
            TypeError, KeyError, ValueError: The content is not that of a pair.
        """
        results = {name: VarianceResult.from_dict(result) for name, result in content["results"].items()}
        curves = {name: AngleCurve(**curve) for name, curve in content["angle_curves"].items()}
        return cls(**{**content, "results": results, "angle_curves": curves})


def _check_names(*names: str) -> None:
    for name in names:
        if not name or name.startswith(".") or set(name) & set("/\\\0"):
            raise ValueError(f"{name!r} is no name of a model, a data set or a transformation")


def check_pair(models: dict[str, TrainedModel], dataset: Dataset) -> None:
    """Check that two models differ in the rotation alone, and were trained on this data set.

    Raises:
        InputError: They differ in more, or were not; the message says in what.
    """
    unrotated, rotated = (models[trained_on].settings for trained_on in PAIR)
    for name, value in unrotated.items():
        if rotated[name] != value:
            raise InputError(
                f"the two models are no pair, their {name} differs ({value} and {rotated[name]}): "
                "train both anew with experiment_rotation.py --overwrite"
            )
    if (unrotated["classes"], unrotated["fingerprint of the data"]) != (dataset.classes, dataset.source.fingerprint):
        raise InputError(
            f"the models were trained on other data than {dataset.name} holds now: train them anew with "
            "experiment_rotation.py --overwrite"
        )
