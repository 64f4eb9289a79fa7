"""MNIST, Fashion-MNIST and CIFAR-10 through torchvision, which downloads and verifies them."""

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
    """Read MNIST, padded with black from 28 × 28 to 1 × 32 × 32: 60,000 training and 10,000 test images.

    Args:
        data_dir: Folder for downloads; existing archives in its ``MNIST/raw`` are used.

    Raises:
        InputError: The data set is damaged, or can neither be found nor downloaded.
    """
    return _read("MNIST", "mnist", data_dir, classes=[str(digit) for digit in range(10)])


def read_fashion_mnist(data_dir: Path) -> Source:
    """Read Fashion-MNIST, padded like MNIST; arguments as in ``read_mnist``."""
    return _read("FashionMNIST", "fashion_mnist", data_dir)


def read_cifar10(data_dir: Path) -> Source:
    """Read CIFAR-10, 3 × 32 × 32: 50,000 training and 10,000 test images; arguments as in ``read_mnist``."""
    return _read("CIFAR10", "cifar10", data_dir)


def _read(torchvision_name: str, name: str, data_dir: Path, classes: list[str] | None = None) -> Source:
    constructor = getattr(import_torchvision().datasets, torchvision_name)
    try:
        train, test = (constructor(str(data_dir), train=is_train, download=True) for is_train in (True, False))
        classes = list(train.classes) if classes is None else classes
        for split in (train, test):
            _check(split.data, torch.as_tensor(split.targets), len(classes))
    except Exception as error:  # torchvision raises all kinds of errors for damaged files
        reason = " ".join(str(error).split())
        if not isinstance(error, OSError | RuntimeError) or "invalid for input of size" in reason:
            raise InputError(
                f"{name} in {data_dir} is damaged ({reason}): remove it there, and run again to download it"
            ) from error
        raise InputError(
            f"{name} is not in {data_dir} and could not be downloaded ({reason}). Connect to the network, "
            "or give a folder that contains it with --data-dir"
        ) from error
    return Source(
        classes=classes,
        labels=(torch.as_tensor(train.targets), torch.as_tensor(test.targets)),
        read=(partial(_images, train.data), partial(_images, test.data)),
    )


def _check(data: Tensor | np.ndarray, labels: Tensor, classes: int) -> None:
    """Check that images and labels match; torchvision trusts the headers of files.

    Raises:
        ValueError: They do not match.
    """
    if len(data) != len(labels) or len(labels) == 0:
        raise ValueError(f"{len(data)} images and {len(labels)} labels")
    if data.shape[1:3] not in ((28, 28), (SIZE, SIZE)) or torch.as_tensor(data[:1]).dtype != torch.uint8:
        raise ValueError(f"images of shape {tuple(data.shape[1:])}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, of {classes} classes")


def _images(data: Tensor | np.ndarray, indices: Tensor) -> Tensor:
    """Select images from (N, H, W) or (N, H, W, 3), and pad them with black to (n, C, 32, 32)."""
    images = torch.as_tensor(data)[indices]
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return F.pad(images, [(SIZE - images.shape[-1]) // 2] * 4)
