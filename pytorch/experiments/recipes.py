"""How each model is trained on each data set.

No augmentation: the unrotated model sees its samples unmodified, and the rotated one differs from it by the rotation
alone and by its number of epochs, because all the angles of a sample take longer to learn than one.

The learning rate follows one cycle in every recipe: it rises to its highest in the first 30 % of the steps and falls
to nothing in the rest, while the momentum (of AdamW its β1) goes from 0.95 to 0.85 and back (Smith & Topin 2017, as
``torch.optim.lr_scheduler.OneCycleLR``). The optimiser is AdamW
(Loshchilov & Hutter 2017), or SGD with Nesterov's momentum where every layer is normalised and the images are natural:
there its solutions generalise better, once weight decay is as strong as it may be with it.
"""

from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from pytorch.errors import InputError
from pytorch.experiments.protocol import Setting

OPTIMIZERS = ("adamw", "sgd")

HIGHEST_MOMENTUM = 0.95

SHORTEST_CYCLE = 4
"""In steps; in a shorter one the learning rate would be next to nothing throughout."""


@dataclass(frozen=True)
class Recipe:
    """What a training run needs to know.

    Attributes:
        epochs: Of the unrotated model.
        rotated_epochs: Of the rotated model.
        batch_size: Samples per step.
        optimizer: One of ``OPTIMIZERS``.
        learning_rate: The highest of the one-cycle schedule.
        weight_decay: Of ``"adamw"`` decoupled, of ``"sgd"`` a part of the gradient.
        label_smoothing: How much of the target is spread evenly over all classes.
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
        """List what the training of one model of the pair depends on, for a ``Protocol``."""
        shared = {name.replace("_", " "): value for name, value in asdict(self).items() if "epochs" not in name}
        return {**shared, "epochs": self.epochs_of(rotated=rotated)}

    def with_options(self, epochs: int | None, rotated_epochs: int | None, batch_size: int | None) -> "Recipe":
        """Return the recipe with what the user asked for.

        ``epochs`` alone sets ``rotated_epochs`` too, in the recipe's own proportion.

        >>> Recipe(3, 6).with_options(epochs=1, rotated_epochs=None, batch_size=None).rotated_epochs
        2
        """
        if epochs is not None and rotated_epochs is None:
            rotated_epochs = max(1, round(epochs * self.rotated_epochs / self.epochs))
        given = {"epochs": epochs, "rotated_epochs": rotated_epochs, "batch_size": batch_size}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def optimizer_for(self, model: nn.Module) -> Optimizer:
        """Return a fresh optimiser of all parameters of a model.

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
        """Return the schedule of an optimiser over ``steps`` steps."""
        return OneCycleLR(
            optimizer, self.learning_rate, total_steps=max(steps, SHORTEST_CYCLE), max_momentum=HIGHEST_MOMENTUM
        )

    def loss(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        """Mean negative log-likelihood of smoothed labels, in nats, a scalar.

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
"""Of models that are deep and not normalised, or have a deep classifier: more keeps them from starting."""

NORMALIZED = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4, "label_smoothing": 0.1}
"""Of normalised models on natural images."""

# Beside a recipe, where it was run: accuracies in %, of the unrotated model on upright data, and of the rotated one on
# upright / rotated data; and the time for both models on two cores of an AMD EPYC, in bf16.
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
    ("simple_conv", "cifar10"): Recipe(20, 40, label_smoothing=0.1),
    ("all_convolutional", "cifar10"): Recipe(40, 80, batch_size=64, label_smoothing=0.1),
    ("vgg16", "cifar10"): Recipe(30, 60, **NORMALIZED),
    ("resnet", "cifar10"): Recipe(30, 60, **NORMALIZED),
}


def recipe_for(model: str, dataset: str) -> Recipe:
    """Return the recipe of a model and a data set by their names; a folder of images has that of CIFAR-10."""
    family = "resnet" if model.startswith("resnet") else model
    return RECIPES.get((family, dataset)) or RECIPES[family, "cifar10"]
