"""MNIST, Fashion-MNIST and CIFAR-10 through torchvision, which downloads them and checks what it got."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch.datasets.dataset import SIZE, Source
from pytorch.errors import InputError
from pytorch.torchvision_import import import_torchvision


def read_mnist(data_dir: Path) -> Source:
    """Read MNIST, 28 × 28 padded with black to 1 × 32 × 32: 60,000 training and 10,000 test images.

    Args:
        data_dir: Where the download is kept; archives that lie in ``MNIST/raw`` there are taken.

    Raises:
        InputError: It can neither be found nor downloaded.
    """
    return _read("MNIST", "mnist", data_dir, classes=[str(digit) for digit in range(10)])


def read_fashion_mnist(data_dir: Path) -> Source:
    """Read Fashion-MNIST, padded as MNIST; arguments as ``read_mnist``."""
    return _read("FashionMNIST", "fashion_mnist", data_dir)


def read_cifar10(data_dir: Path) -> Source:
    """Read CIFAR-10, 3 × 32 × 32: 50,000 training and 10,000 test images; arguments as ``read_mnist``."""
    return _read("CIFAR10", "cifar10", data_dir)


def _read(torchvision_name: str, name: str, data_dir: Path, classes: list[str] | None = None) -> Source:
    constructor = getattr(import_torchvision().datasets, torchvision_name)
    try:
        train, test = (constructor(str(data_dir), train=is_train, download=True) for is_train in (True, False))
        classes = list(train.classes) if classes is None else classes
        for split in (train, test):
            _check(split.data, torch.as_tensor(split.targets), len(classes))
    except Exception as error:  # torchvision raises whatever a damaged file makes it
        reason = " ".join(str(error).split())
        if not isinstance(error, OSError | RuntimeError) or "invalid for input of size" in reason:
            raise InputError(
                f"{name} in {data_dir} is damaged ({reason}): remove it there, and it is fetched anew"
            ) from error
        raise InputError(
            f"{name} is not in {data_dir} and could not be downloaded ({reason}). Connect to the network, "
            "or name with --data-dir a folder that has it"
        ) from error
    return Source(
        classes=classes,
        labels=(torch.as_tensor(train.targets), torch.as_tensor(test.targets)),
        read=(partial(_images, train.data), partial(_images, test.data)),
    )


def _check(data: Tensor | np.ndarray, labels: Tensor, classes: int) -> None:
    """Check that images and labels fit together; torchvision believes what the headers of files say.

    Raises:
        ValueError: They do not.
    """
    if len(data) != len(labels) or len(labels) == 0:
        raise ValueError(f"{len(data)} images and {len(labels)} labels")
    if data.shape[1:3] not in ((28, 28), (SIZE, SIZE)) or torch.as_tensor(data[:1]).dtype != torch.uint8:
        raise ValueError(f"images of shape {tuple(data.shape[1:])}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, of {classes} classes")


def _images(data: Tensor | np.ndarray, indices: Tensor) -> Tensor:
    """Choose from (N, H, W) or (N, H, W, 3) and return (n, C, 32, 32), padded with black."""
    images = torch.as_tensor(data)[indices]
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return F.pad(images, [(SIZE - images.shape[-1]) // 2] * 4)
