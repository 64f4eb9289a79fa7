"""The architectures, built by name.

Every model takes (B, C, 32, 32) and returns log-probabilities (B, K). Each step of its computation is a module with a
readable name, so every step can be measured: no ``forward`` hides an operation.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from pytorch.names import find_name

if TYPE_CHECKING:
    from torch import nn

MODELS = {
    "simple_conv": "pytorch.models.simple_conv:simple_conv",
    "all_convolutional": "pytorch.models.all_convolutional:all_convolutional",
    "vgg16": "pytorch.models.vgg:vgg16",
    "resnet": "pytorch.models.resnet:resnet18",
    "resnet34": "pytorch.models.resnet:resnet34",
    "resnet50": "pytorch.models.resnet:resnet50",
}
"""Name to the function that builds the model; its module, and so torch, is imported when a model is built."""


def build_model(name: str, channels: int, classes: int) -> "nn.Module":
    """Build a model with fresh weights, drawn from torch's global generator.

    Args:
        name: A key of ``MODELS``; letter case, ``-`` and ``_`` do not matter.
        channels: Channels of the input images.
        classes: Number of classes.

    Raises:
        InputError: The name is unknown.

    >>> build_model("Simple-Conv", channels=1, classes=10).conv1
    Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    return resolve_name(MODELS[find_name(name, MODELS, "model")])(channels, classes)
