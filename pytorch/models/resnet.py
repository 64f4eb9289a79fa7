"""Residual networks with the CIFAR stem: one 3 × 3 convolution of stride 1, no pooling before the first stage.

torchvision's residual blocks add with ``+=`` and reuse one in-place ReLU for several layers. Here every step of a block
is a separate module, with a name, so that it is measured. An identity shortcut is not: it would copy the block's input,
which is measured already.

Source:
    He, Zhang, Ren, Sun (2015), Deep Residual Learning for Image Recognition, table 1; the stem as in section 4.2;
    in the bottleneck the 3 × 3 convolution strides, as in torchvision.
"""

from collections import OrderedDict

from torch import Tensor, nn

from pytorch.models.log_softmax import LogSoftmax


class Sum(nn.Module):
    """The sum of a residual and its shortcut, as a module to be measured."""

    def forward(self, residual: Tensor, shortcut: Tensor) -> Tensor:
        """Add two activations of the same shape."""
        return residual + shortcut


class BasicBlock(nn.Module):
    """relu(residual + shortcut), where the residual is two 3 × 3 convolutions.

    Args:
        inputs: Number of input channels.
        filters: Filters of both convolutions, and output channels.
        stride: Stride of the first convolution and of the shortcut.
    """

    widening = 1

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, filters, 3, stride)
        self.norm1 = nn.BatchNorm2d(filters)
        self.relu1 = nn.ReLU()
        self.conv2 = convolution(filters, filters, 3)
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut = shortcut(inputs, filters, stride)
        self.sum = Sum()
        self.relu2 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output, (B, C, H, W)."""
        residual = self.relu1(self.norm1(self.conv1(inputs)))
        residual = self.norm2(self.conv2(residual))
        return self.relu2(self.sum(residual, self.shortcut(inputs)))


class Bottleneck(nn.Module):
    """relu(residual + shortcut), where the residual is a 1 × 1, a 3 × 3 and a widening 1 × 1 convolution.

    Args:
        inputs: Number of input channels.
        filters: Filters of the first two convolutions; there are four times as many output channels.
        stride: Stride of the 3 × 3 convolution and of the shortcut.
    """

    widening = 4

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        outputs = self.widening * filters
        self.conv1 = convolution(inputs, filters, 1)
        self.norm1 = nn.BatchNorm2d(filters)
        self.relu1 = nn.ReLU()
        self.conv2 = convolution(filters, filters, 3, stride)
        self.norm2 = nn.BatchNorm2d(filters)
        self.relu2 = nn.ReLU()
        self.conv3 = convolution(filters, outputs, 1)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut(inputs, outputs, stride)
        self.sum = Sum()
        self.relu3 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output, (B, C, H, W)."""
        residual = self.relu1(self.norm1(self.conv1(inputs)))
        residual = self.relu2(self.norm2(self.conv2(residual)))
        residual = self.norm3(self.conv3(residual))
        return self.relu3(self.sum(residual, self.shortcut(inputs)))


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Build the identity, or a normalised 1 × 1 convolution if the residual's shape differs from its input's."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(OrderedDict(conv=convolution(inputs, outputs, 1, stride), norm=nn.BatchNorm2d(outputs)))


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Build a convolution that only its stride makes smaller; the normalisation supplies its bias."""
    layer = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def resnet(channels: int, classes: int, block: type[BasicBlock | Bottleneck], depths: list[int]) -> nn.Sequential:
    """Build a residual network.

    Args:
        channels: Channels of the input, (B, channels, 32, 32).
        classes: Number of log-probabilities.
        block: Class of its blocks.
        depths: Number of blocks per stage; each stage after the first halves the image and doubles the filters.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=convolution(channels, 64, 3), norm=nn.BatchNorm2d(64), relu=nn.ReLU()
    )
    inputs = 64
    for stage, depth in enumerate(depths, start=1):
        filters = 64 * 2 ** (stage - 1)
        for index in range(1, depth + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            layers[f"block{stage}_{index}"] = block(inputs, filters, stride)
            inputs = block.widening * filters
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(inputs, classes)
    layers["log_softmax"] = LogSoftmax(dim=1)
    return nn.Sequential(layers)


def resnet18(channels: int, classes: int) -> nn.Sequential:
    """Build ResNet-18; arguments as in ``resnet``."""
    return resnet(channels, classes, BasicBlock, [2, 2, 2, 2])


def resnet34(channels: int, classes: int) -> nn.Sequential:
    """Build ResNet-34; arguments as in ``resnet``."""
    return resnet(channels, classes, BasicBlock, [3, 4, 6, 3])


def resnet50(channels: int, classes: int) -> nn.Sequential:
    """Build ResNet-50; arguments as in ``resnet``."""
    return resnet(channels, classes, Bottleneck, [3, 4, 6, 3])
