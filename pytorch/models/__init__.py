"""The architectures, built by name.

Every model takes (B, C, 32, 32) and returns log-probabilities (B, K). Each step of its computation is a module of
its own with a readable name, so that every step can be measured: no operation hides in a ``forward``.
"""

from collections.abc import Callable

from torch import nn

from pytorch.models.all_convolutional import all_convolutional
from pytorch.models.resnet import resnet18, resnet34, resnet50
from pytorch.models.simple_conv import simple_conv
from pytorch.models.vgg import vgg16
from pytorch.names import find_name

MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "simple_conv": simple_conv,
    "all_convolutional": all_convolutional,
    "vgg16": vgg16,
    "resnet": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
}


def build_model(name: str, channels: int, classes: int) -> nn.Module:
    """Build a model with fresh weights, drawn from torch's global generator.

    Args:
        name: A key of ``MODELS``; letter case, ``-`` and ``_`` do not matter.
        channels: Of the input images.
        classes: Number of classes.

    Raises:
        InputError: There is no model of that name.

    >>> build_model("Simple-Conv", channels=1, classes=10).conv1
    Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    return MODELS[find_name(name, MODELS, "model")](channels, classes)
