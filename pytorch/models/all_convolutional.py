"""All-CNN-C: only convolutions, with strides instead of pooling.

Source:
    Springenberg, Dosovitskiy, Brox, Riedmiller (2014), Striving for Simplicity: The All Convolutional Net, table 1
    (model C) and table 2 (strides instead of pooling); dropout as in section 3.1.
"""

from collections import OrderedDict

from torch import nn

from pytorch.models.log_softmax import LogSoftmax


def all_convolutional(channels: int, classes: int) -> nn.Sequential:
    """Build All-CNN-C.

    As in the paper, the seventh convolution is not padded (8 × 8 to 6 × 6), nor are the 1 × 1 convolutions. Unlike
    in the paper, no ReLU follows the last convolution. The log-softmax after the average needs scores of either sign,
    and a class whose scores were all cut to 0 would stop learning. Weights are initialised as He et al. (2015)
    propose for ReLU; otherwise nine layers without normalisation hardly begin to learn.

    Args:
        channels: Channels of the input, (B, channels, 32, 32).
        classes: Number of log-probabilities.
    """
    model = nn.Sequential(
        OrderedDict(
            dropout0=nn.Dropout(0.2),
            conv1=nn.Conv2d(channels, 96, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(96, 96, 3, padding=1),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(96, 96, 3, padding=1, stride=2),
            relu3=nn.ReLU(),
            dropout1=nn.Dropout(0.5),
            conv4=nn.Conv2d(96, 192, 3, padding=1),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(192, 192, 3, padding=1),
            relu5=nn.ReLU(),
            conv6=nn.Conv2d(192, 192, 3, padding=1, stride=2),
            relu6=nn.ReLU(),
            dropout2=nn.Dropout(0.5),
            conv7=nn.Conv2d(192, 192, 3),
            relu7=nn.ReLU(),
            conv8=nn.Conv2d(192, 192, 1),
            relu8=nn.ReLU(),
            conv9=nn.Conv2d(192, classes, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            log_softmax=LogSoftmax(dim=1),
        )
    )
    for module in model:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return model
