"""How each model is trained on each data set.

AdamW with a one-cycle learning rate (Smith & Topin 2017), no augmentation: the unrotated model sees its samples
unmodified, and the rotated one differs by the rotation alone and by its number of epochs, because all the angles
of a sample take longer to learn than one.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """What a training run needs to know.

    Attributes:
        epochs: Of the unrotated model.
        rotated_epochs: Of the rotated model.
        batch_size: Samples per step.
        learning_rate: The highest of the one-cycle schedule.
        weight_decay: Decoupled (AdamW).
    """

    epochs: int
    rotated_epochs: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01

    def with_options(self, epochs: int | None, rotated_epochs: int | None, batch_size: int | None) -> "Recipe":
        """Return the recipe with what the user asked for.

        ``epochs`` alone sets ``rotated_epochs`` too, in the recipe's own proportion.

        >>> Recipe(epochs=3, rotated_epochs=6).with_options(epochs=1, rotated_epochs=None, batch_size=None)
        Recipe(epochs=1, rotated_epochs=2, batch_size=128, learning_rate=0.002, weight_decay=0.01)
        """
        if epochs is not None and rotated_epochs is None:
            rotated_epochs = max(1, round(epochs * self.rotated_epochs / self.epochs))
        given = {"epochs": epochs, "rotated_epochs": rotated_epochs, "batch_size": batch_size}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


DATASET_RECIPES = {
    "digits": Recipe(epochs=8, rotated_epochs=24, batch_size=64),
    "mnist": Recipe(epochs=3, rotated_epochs=6),
    "fashion_mnist": Recipe(epochs=6, rotated_epochs=12),
    "cifar10": Recipe(epochs=20, rotated_epochs=40),
}

LEARNING_RATES = {"all_convolutional": 1e-3, "vgg16": 1e-3}
"""Of the models that do not train well with the usual one: deep and not normalised, or with a deep classifier."""


def recipe_for(model: str, dataset: str) -> Recipe:
    """Return the recipe of a model and a data set by their names; a folder of images has that of CIFAR-10."""
    recipe = DATASET_RECIPES.get(dataset, DATASET_RECIPES["cifar10"])
    return replace(recipe, learning_rate=LEARNING_RATES.get(model, recipe.learning_rate))
