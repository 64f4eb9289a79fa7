"""A simple convolutional network: five 3 × 3 convolutions, two pooling layers, two linear layers."""

from collections import OrderedDict

from torch import nn

from pytorch.models.log_softmax import LogSoftmax


def simple_conv(channels: int, classes: int, filters: int = 32) -> nn.Sequential:
    """Build the network; its five convolutions have 1, 1, 2, 2 and 4 times ``filters`` filters.

    Args:
        channels: Channels of the input, (B, channels, 32, 32).
        classes: Number of log-probabilities.
        filters: Filters of the first convolution.
    """

    def convolution(inputs: int, outputs: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)

    return nn.Sequential(
        OrderedDict(
            conv1=convolution(channels, filters),
            relu1=nn.ReLU(),
            conv2=convolution(filters, filters),
            relu2=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv3=convolution(filters, 2 * filters),
            relu3=nn.ReLU(),
            conv4=convolution(2 * filters, 2 * filters),
            relu4=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv5=convolution(2 * filters, 4 * filters),
            relu5=nn.ReLU(),
            flatten=nn.Flatten(),
            linear1=nn.Linear(4 * filters * 8 * 8, 4 * filters),
            relu6=nn.ReLU(),
            linear2=nn.Linear(4 * filters, classes),
            log_softmax=LogSoftmax(dim=1),
        )
    )
