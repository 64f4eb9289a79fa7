"""The data sets, loaded by name.

In reading order: ``dataset`` (what a data set is), ``normalization``, ``digits`` (embedded),
``torchvision_datasets`` (downloaded), ``image_files``, ``image_folder`` (the user's own). All their images are
32 × 32, uint8. ``image_batches`` has those of a folder at any size, decoded while a network
computes; ``network_input`` prepares them.
"""

from os import PathLike, fspath
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from pytorch.checked_numbers import whole_number
from pytorch.errors import InputError
from pytorch.names import find_name, match_name

if TYPE_CHECKING:
    from pytorch.datasets.dataset import Dataset

DATASETS = {
    "digits": "pytorch.datasets.digits:read_digits",
    "mnist": "pytorch.datasets.torchvision_datasets:read_mnist",
    "fashion_mnist": "pytorch.datasets.torchvision_datasets:read_fashion_mnist",
    "cifar10": "pytorch.datasets.torchvision_datasets:read_cifar10",
}
"""Name to the function that reads the data set, given the folder for downloads; imported when it is called."""

LONGEST_FOLDER_NAME = 50
"""In letters; file names contain it."""


def load_dataset(
    name: str | PathLike[str],
    data_dir: Path | None,
    samples: int | None = None,
    seed: int = 0,
    test_samples: int | None = None,
) -> "Dataset":
    """Find a data set and download it if necessary; the images of a split are read on first use.

    Args:
        name: A key of ``DATASETS`` (letter case, ``-`` and ``_`` do not matter), or the path of a folder with
            ``train/<class>/*`` and ``test/<class>/*``.
        data_dir: Folder for downloads; may be None for digits and for folders.
        samples: Maximum number of samples per split, balanced over the classes and drawn with ``seed``; None: all.
        seed: Random seed for that draw.
        test_samples: Maximum number of test samples, drawn likewise; None: as ``samples``.

    Raises:
        InputError: The data set does not exist or cannot be read, or a number is no whole one; the message says what to
            do.
    """
    from pytorch.datasets.dataset import Dataset  # imports torch, which dataset_name does without

    for what, number in (("samples", samples), ("seed", seed), ("test_samples", test_samples)):
        if number is not None or what == "seed":
            whole_number(what, number)
    name = fspath(name) if isinstance(name, PathLike) else name
    folder = _folder(name)
    if folder is None and data_dir is None and dataset_name(name) != "digits":
        raise InputError(f"{dataset_name(name)} is downloaded: data_dir must be the folder to keep it in")
    reader = DATASETS[dataset_name(name)] if folder is None else "pytorch.datasets.image_folder:read_image_folder"
    return Dataset(dataset_name(name), resolve_name(reader)(folder or data_dir), samples, seed, test_samples)


def dataset_name(name: str) -> str:
    """Return the name under which results of a data set are kept; for a folder, ``folder-`` and the folder's name.

    Raises:
        InputError: The data set does not exist, or its name cannot be part of a file name.

    >>> dataset_name("Fashion-MNIST")
    'fashion_mnist'
    """
    folder = _folder(name)
    if folder is None:
        return find_name(name, DATASETS, "data set (and no folder)")
    if "\\" in folder.name or not folder.name.isprintable() or len(folder.name) > LONGEST_FOLDER_NAME:
        raise InputError(
            f"{folder}: results cannot be named after a folder whose name has more than {LONGEST_FOLDER_NAME} letters, "
            "a \\ or unprintable characters; rename it"
        )
    return f"folder-{folder.name}"


def dataset_source(name: str) -> str:
    """Return what loads the same data from any working directory: the name, or the folder's absolute path."""
    folder = _folder(name)
    return dataset_name(name) if folder is None else str(folder)


def _folder(name: str) -> Path | None:
    """Return the folder that ``name`` means; a known name never means a folder (``./mnist`` does)."""
    if name and isinstance(name, str) and match_name(name, DATASETS) is None and Path(name).is_dir():
        return Path(name).resolve()
    return None
