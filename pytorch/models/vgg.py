"""VGG16 with batch normalisation, and a classifier for 32 × 32 images.

Source:
    Simonyan, Zisserman (2014), Very Deep Convolutional Networks for Large-Scale Image Recognition, table 1, column D.
"""

from collections import OrderedDict

from torch import nn

from pytorch.models.log_softmax import LogSoftmax

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of the convolutions in each block; max-pooling ends a block."""


def vgg16(channels: int, classes: int) -> nn.Sequential:
    """Build VGG16: 13 normalised convolutions, five pooling layers and three linear layers of width 512.

    Args:
        channels: Channels of the input, (B, channels, 32, 32).
        classes: Number of log-probabilities.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = channels
    for block, filters in enumerate(BLOCKS, start=1):
        for index, outputs in enumerate(filters, start=1):
            # The next normalisation has a bias and would cancel this one.
            layers[f"conv{block}_{index}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers[f"norm{block}_{index}"] = nn.BatchNorm2d(outputs)
            layers[f"relu{block}_{index}"] = nn.ReLU()
            inputs = outputs
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    for index in (1, 2):
        layers[f"linear{index}"] = nn.Linear(512, 512)
        layers[f"relu_linear{index}"] = nn.ReLU()
        layers[f"dropout{index}"] = nn.Dropout(0.5)
    layers["linear3"] = nn.Linear(512, classes)
    layers["log_softmax"] = LogSoftmax(dim=1)
    for module in layers.values():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layers)
