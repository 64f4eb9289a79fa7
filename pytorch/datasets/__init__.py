"""The data sets, loaded by name.

In reading order: ``dataset`` (what a data set is), ``normalization``, ``digits`` (embedded),
``torchvision_datasets`` (downloaded), ``image_folder`` (the user's own). All images are 32 × 32, uint8.
"""

from collections.abc import Callable
from pathlib import Path

from pytorch.datasets.dataset import Dataset, Source, Split
from pytorch.datasets.digits import read_digits
from pytorch.datasets.image_folder import read_image_folder
from pytorch.datasets.normalization import Normalization
from pytorch.datasets.torchvision_datasets import read_cifar10, read_fashion_mnist, read_mnist
from pytorch.errors import InputError
from pytorch.names import find_name, match_name

DATASETS: dict[str, Callable[[Path | None], Source]] = {
    "digits": read_digits,
    "mnist": read_mnist,
    "fashion_mnist": read_fashion_mnist,
    "cifar10": read_cifar10,
}
"""Name to a function of the folder where downloads are kept."""


LONGEST_FOLDER_NAME = 50
"""In letters; names of files are made of it."""


def load_dataset(
    name: str, data_dir: Path | None, samples: int | None = None, seed: int = 0, test_samples: int | None = None
) -> Dataset:
    """Find a data set, downloading it if need be; its images are read when a split is first asked for.

    Args:
        name: A key of ``DATASETS`` (letter case, ``-`` and ``_`` do not matter), or the path of a folder with
            ``train/<class>/*`` and ``test/<class>/*``.
        data_dir: Where downloads are kept; None will do for digits and for folders.
        samples: At most so many of each split, as many of each class, drawn with ``seed``; None: all.
        seed: Of that draw.
        test_samples: Of the test split at most so many, likewise; None: as ``samples``.

    Raises:
        InputError: There is no such data set, or it cannot be read; the message says what to do.
    """
    folder = _folder(name)
    if folder is None and data_dir is None and dataset_name(name) != "digits":
        raise InputError(f"{dataset_name(name)} is downloaded: data_dir must be the folder to keep it in")
    source = DATASETS[dataset_name(name)](data_dir) if folder is None else read_image_folder(folder)
    return Dataset(dataset_name(name), source, samples, seed, test_samples)


def dataset_name(name: str) -> str:
    """Return the name by which results of a data set are kept: its own, or ``folder-`` and that of its folder.

    Raises:
        InputError: There is no such data set, or no file can be named after it.

    >>> dataset_name("Fashion-MNIST")
    'fashion_mnist'
    """
    folder = _folder(name)
    if folder is None:
        return find_name(name, DATASETS, "data set (and no folder)")
    if "\\" in folder.name or not folder.name.isprintable() or len(folder.name) > LONGEST_FOLDER_NAME:
        raise InputError(
            f"{folder}: results cannot be named after a folder with more than {LONGEST_FOLDER_NAME} letters, or with "
            "\\ or what cannot be printed in its name; rename it"
        )
    return f"folder-{folder.name}"


def dataset_source(name: str) -> str:
    """Return what ``load_dataset`` takes for the same data from any folder: the name, or the folder's whole path."""
    folder = _folder(name)
    return dataset_name(name) if folder is None else str(folder)


def _folder(name: str) -> Path | None:
    """Return the folder that ``name`` means; a known name means no folder (write ``./mnist`` for that)."""
    if name and match_name(name, DATASETS) is None and Path(name).is_dir():
        return Path(name).resolve()
    return None


__all__ = ["DATASETS", "Dataset", "Normalization", "Split", "dataset_name", "dataset_source", "load_dataset"]
