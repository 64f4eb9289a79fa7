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
    except (ValueError, AssertionError, EOFError) as error:
        raise InputError(
            f"{name} in {data_dir} is damaged ({error}): remove it there, and it is fetched anew"
        ) from error
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name} is not in {data_dir} and could not be downloaded ({reason}). Connect to the network, "
            "or name with --data-dir a folder that has it"
        ) from error
    return Source(
        classes=list(train.classes) if classes is None else classes,
        labels=(torch.as_tensor(train.targets), torch.as_tensor(test.targets)),
        read=(partial(_images, train.data), partial(_images, test.data)),
    )


def _images(data: Tensor | np.ndarray, indices: Tensor) -> Tensor:
    """Choose from (N, H, W) or (N, H, W, 3) and return (n, C, 32, 32), padded with black."""
    images = torch.as_tensor(data)[indices]
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return F.pad(images, [(SIZE - images.shape[-1]) // 2] * 4)
