"""How each model is trained on each data set.

There is no augmentation: the unrotated model sees unmodified samples. The rotated model differs only in the rotation
and in its number of epochs: all angles of a sample take longer to learn than one.

In every recipe the learning rate follows one cycle (Smith & Topin 2017, as in
``torch.optim.lr_scheduler.OneCycleLR``). It rises to its maximum in the first 30 % of the steps and falls to almost 0
in the rest. Meanwhile the momentum (β1 for AdamW) goes from 0.95 to 0.85 and back.

The optimiser is AdamW (Loshchilov & Hutter 2017), or SGD with Nesterov momentum for normalised networks on natural
images. There SGD, which allows stronger weight decay, generalises better.
"""

from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from pytorch.errors import InputError
from pytorch.experiments.protocol import Setting
from pytorch.experiments.published import published_dataset

ANY = "any"
"""Stands for data sets without a recipe of their own."""

OPTIMIZERS = ("adamw", "sgd")

HIGHEST_MOMENTUM = 0.95

SHORTEST_CYCLE = 4
"""Minimum number of steps in a cycle; in a shorter one the learning rate would be almost 0 throughout."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        epochs: Number of epochs for the unrotated model.
        rotated_epochs: Number of epochs for the rotated model.
        batch_size: Samples per step.
        optimizer: One of ``OPTIMIZERS``.
        learning_rate: Maximum of the one-cycle schedule.
        weight_decay: Weight decay, decoupled for ``"adamw"``, part of the gradient for ``"sgd"``.
        label_smoothing: Fraction of the target that is spread evenly over all classes.
    """

    epochs: int
    rotated_epochs: int
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.0

    def epochs_of(self, *, rotated: bool) -> int:
        """Return the epochs of one model of the pair."""
        return self.rotated_epochs if rotated else self.epochs

    def settings(self, *, rotated: bool) -> dict[str, Setting]:
        """Return the settings for one model of the pair, as in a ``Protocol``."""
        shared = {name.replace("_", " "): value for name, value in asdict(self).items() if "epochs" not in name}
        return {**shared, "epochs": self.epochs_of(rotated=rotated)}

    def with_options(self, epochs: int | None, rotated_epochs: int | None, batch_size: int | None) -> "Recipe":
        """Return the recipe with the options that are not None.

        ``epochs`` alone also sets ``rotated_epochs``, in the proportion of the recipe.

        >>> Recipe(3, 6).with_options(epochs=1, rotated_epochs=None, batch_size=None).rotated_epochs
        2
        """
        if epochs is not None and rotated_epochs is None:
            rotated_epochs = max(1, round(epochs * self.rotated_epochs / self.epochs))
        given = {"epochs": epochs, "rotated_epochs": rotated_epochs, "batch_size": batch_size}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def optimizer_for(self, model: nn.Module) -> Optimizer:
        """Return a new optimiser for all parameters of a model.

        Raises:
            InputError: The recipe's optimiser is unknown.
        """
        options = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "adamw":
            return torch.optim.AdamW(model.parameters(), **options)
        if self.optimizer == "sgd":
            return torch.optim.SGD(model.parameters(), momentum=HIGHEST_MOMENTUM, nesterov=True, **options)
        raise InputError(f"unknown optimizer {self.optimizer!r}: choose {' or '.join(OPTIMIZERS)}")

    def schedule_for(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """Return a schedule of ``steps`` steps for an optimiser."""
        return OneCycleLR(
            optimizer, self.learning_rate, total_steps=max(steps, SHORTEST_CYCLE), max_momentum=HIGHEST_MOMENTUM
        )

    def loss(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of smoothed labels, in nats, a scalar.

        (1 - s) · mean of -log p(label) + s · mean over classes of -log p, with s the label smoothing.

        Args:
            log_probabilities: (B, K).
            labels: (B,) int64.
        """
        loss = nn.functional.nll_loss(log_probabilities.float(), labels)
        if self.label_smoothing == 0:
            return loss
        return (1 - self.label_smoothing) * loss - self.label_smoothing * log_probabilities.float().mean()


GENTLE = {"learning_rate": 1e-3}
"""Settings for models that are deep without normalisation, or have a deep classifier: faster, they do not learn."""

NORMALIZED = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4, "label_smoothing": 0.1}
"""Settings for normalised models on natural images."""

# Comments give results where a recipe was run: accuracy in % of the unrotated model on upright data, and of the rotated
# model on upright / rotated data; then the time for both models on two cores of an AMD EPYC, in bf16.
RECIPES = {
    ("simple_conv", "digits"): Recipe(8, 24, batch_size=64),  # 98.3 ± 0.3, 97.2 ± 0.4 / 97.3 ± 0.8; 1 minute
    ("all_convolutional", "digits"): Recipe(8, 24, batch_size=64, **GENTLE),
    ("vgg16", "digits"): Recipe(8, 24, batch_size=64, **GENTLE),
    ("resnet", "digits"): Recipe(8, 24, batch_size=64),
    ("simple_conv", "mnist"): Recipe(3, 7),  # 99.4, 98.2 / 98.3; 8 minutes
    ("all_convolutional", "mnist"): Recipe(4, 8, batch_size=64),  # 99.4, 97.5 / 97.6; about 80 minutes
    ("vgg16", "mnist"): Recipe(3, 6, **GENTLE),
    ("resnet", "mnist"): Recipe(3, 6),
    ("simple_conv", "fashion_mnist"): Recipe(6, 12),
    ("all_convolutional", "fashion_mnist"): Recipe(6, 12, batch_size=64),
    ("vgg16", "fashion_mnist"): Recipe(6, 12, **GENTLE),
    ("resnet", "fashion_mnist"): Recipe(6, 12),
    ("simple_conv", "cifar10"): Recipe(8, 32, label_smoothing=0.1),  # 77.6, 67.8 / 69.1; 20 minutes (JPEG copy)
    # 76.2, 55.3 / 51.5; about 80 minutes on an Intel Xeon (JPEG copy)
    ("all_convolutional", "cifar10"): Recipe(15, 45, batch_size=64, label_smoothing=0.1),
    ("vgg16", "cifar10"): Recipe(4, 10, **NORMALIZED),  # 81.9, 65.1 / 67.7; an hour (JPEG copy)
    ("resnet", "cifar10"): Recipe(2, 6, **NORMALIZED),  # 78.6, 64.8 / 67.3; an hour (JPEG copy)
    ("simple_conv", ANY): Recipe(20, 40, label_smoothing=0.1),
    ("all_convolutional", ANY): Recipe(40, 80, batch_size=64, label_smoothing=0.1),
    ("vgg16", ANY): Recipe(30, 60, **NORMALIZED),
    ("resnet", ANY): Recipe(30, 60, **NORMALIZED),
}


def recipe_for(model: str, dataset: str) -> Recipe:
    """Return the recipe for a model and a data set by name; a copy of a data set has the recipe of the original."""
    family = "resnet" if model.startswith("resnet") else model
    return RECIPES.get((family, published_dataset(dataset))) or RECIPES[family, ANY]
