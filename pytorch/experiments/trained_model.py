"""A trained model with its origin."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytorch.datasets.dataset import Dataset
from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError
from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.recipes import Recipe
from pytorch.experiments.training import Epoch
from pytorch.experiments.vocabulary import PAIR, ROTATED, check_names
from pytorch.files.checked_fields import check_fields
from pytorch.models import build_model


def initial_network(model: str, channels: int, classes: int, seed: int) -> nn.Module:
    """Build a network with initial weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(model, channels, classes)


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """Return types and shapes of the tensors of a network."""
    return {name: (values.dtype, values.shape) for name, values in weights.items()}


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return sixteen hexadecimal digits that depend on every bit of the state of a network, and nothing else."""
    content = hashlib.sha256()
    for name, values in weights.items():
        content.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        content.update(values.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return content.hexdigest()[:16]


@dataclass(frozen=True)
class TrainedModel:
    """A trained model and everything needed to rebuild, judge and repeat it.

    Attributes:
        model: Architecture, by name.
        dataset: Name of the data set.
        trained_on: Kind of training samples, ``"unrotated"`` or ``"rotated"``.
        channels: Number of input channels.
        classes: Class names.
        normalization: Normalization constants of the training split.
        recipe: Settings of the training.
        precision: Precision of training and evaluation.
        seed: Random seed for weights, sample orders, angles and dropout.
        samples: Number of training samples.
        samples_seed: Random seed for the selection of training samples; None: all samples.
        history: Records of the epochs.
        accuracy: Accuracy on ``upright`` and on ``rotated`` test data, as fractions.
        angle_curve: Accuracy against the angle of the test data; None: not evaluated.
        test_samples: Number of test samples.
        test_limit: Limit on the number of test samples; None: that on the training samples.
        weights: State of the network.
        versions: Versions of Python and of the libraries.
        fingerprint: Fingerprint of the data set; see ``pytorch.datasets.Source``.
        machine: Processor that trained the model.
        date: Time at the end of the training.
        commit: Commit of the code.
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
    test_limit: int | None = None
    machine: str = ""
    date: str = ""
    commit: str = ""

    def __post_init__(self) -> None:
        """Refuse fields of other types, and names that lead out of the folder of figures, as a file may contain them.

        Raises:
            ValueError: A field has another type, or a name contains a path separator or begins with a dot.
        """
        check_fields(self)
        check_names(self.model, self.dataset)

    @property
    def epochs(self) -> int:
        """Number of epochs of this model of the pair."""
        return self.recipe.epochs_of(rotated=self.trained_on == ROTATED)

    @property
    def protocol(self) -> Protocol:
        """Everything the weights depend on."""
        return Protocol(
            {
                "model": self.model,
                "dataset": self.dataset,
                "fingerprint of the data": self.fingerprint,
                "classes": self.classes,
                "training samples": self.samples,
                "seed of their choice": self.samples_seed,
                "seed": self.seed,
                "precision": self.precision,
                **self.recipe.settings(rotated=self.trained_on == ROTATED),
            }
        )

    def network(self, *, trained: bool = True) -> nn.Module:
        """Build the network in evaluation mode, on the CPU.

        Args:
            trained: Whether to use the trained weights or the initial ones.

        Raises:
            InputError: The weights do not fit this architecture.
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
        """Rebuild a model from the output of ``to_dict``.

        Raises:
            TypeError, KeyError: The content does not describe a trained model.
        """
        normalization = {name: tuple(values) for name, values in content["normalization"].items()}
        parts = {
            "normalization": Normalization(**normalization),
            "recipe": Recipe(**content["recipe"]),
            "history": [Epoch(**epoch) for epoch in content["history"]],
            "angle_curve": content["angle_curve"] and AngleCurve(**content["angle_curve"]),
        }
        return cls(**{**content, **parts})


def check_pair(models: dict[str, TrainedModel], dataset: Dataset) -> None:
    """Check that two models differ only in the rotation, and were trained on this data set.

    Raises:
        InputError: They differ in more settings, which the message names, or were trained on other data.
    """
    check_same_settings(models)
    data = Protocol({"classes": dataset.classes, "fingerprint of the data": dataset.source.fingerprint})
    if models[ROTATED].protocol.differences(data):
        raise InputError(
            f"the models were trained on other data than {dataset.name} now contains: train them again with "
            "experiment_rotation.py --overwrite"
        )


def check_same_settings(models: dict[str, TrainedModel]) -> None:
    """Check that two models differ only in the rotation, and in the number of epochs.

    Raises:
        InputError: They differ in more settings; the message names them.
    """
    unrotated, rotated = (models[trained_on].protocol for trained_on in PAIR)
    if differs := rotated.differences(unrotated, ignore=["epochs"]):
        raise InputError(
            f"the two models are not a pair, the rotated one was trained with {differs}: "
            "train both again with experiment_rotation.py --overwrite"
        )
