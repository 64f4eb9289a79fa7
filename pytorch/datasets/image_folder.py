"""A folder of images as a data set: ``train/<class>/*`` and ``test/<class>/*``."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pytorch.datasets.dataset import SIZE, Source
from pytorch.datasets.image_files import ImageFiles, fingerprint_of, list_images, open_image, tell_hidden
from pytorch.errors import InputError
from pytorch.progress_bar import progress_bar


def read_image_folder(folder: Path) -> Source:
    """List the images of a folder; only selected ones are decoded, as 3 × 32 × 32.

    Grey images get three equal channels, and photographs are turned as their camera recorded. Images of another size
    are resized. Files of other kinds, and hidden files and folders (``.*`` and ``__MACOSX``), are skipped. Messages on
    stderr count what is resized and skipped.

    Args:
        folder: Folder with ``train/<class>/*`` and ``test/<class>/*``; ``train`` defines the classes.

    Raises:
        InputError: A split is missing, a class has no images or an unusable name, or the splits have different classes.
    """
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise InputError(f"{folder} has no folder {split}/: it needs train/<class>/* and test/<class>/*")
    train, test = _list(folder / "train"), _list(folder / "test")
    tell_hidden(folder, train.hidden + test.hidden)
    if test.classes != train.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise InputError(f"{folder}: train/ and test/ do not have the same classes; only in one of them: {odd}")
    return Source(
        classes=train.classes,
        labels=(train.labels, test.labels),
        read=(partial(_decode, train.files, "train"), partial(_decode, test.files, "test")),
        fingerprint=fingerprint_of(folder, train.files + test.files),
    )


def _list(folder: Path) -> ImageFiles:
    found = list_images(folder)
    if others := found.others + len(found.loose):
        print(f"{folder}: files skipped that are in no class or not named as images: {others}", file=sys.stderr)
    found.check_classes()
    return found


def _decode(files: list[Path], split: str, indices: Tensor) -> Tensor:
    """Decode the chosen files as (n, 3, 32, 32) uint8."""
    images = torch.empty(len(indices), 3, SIZE, SIZE, dtype=torch.uint8)
    resized = 0
    for row, index in enumerate(progress_bar(indices.tolist(), title=f"reading {split} images", unit=" images")):
        image = open_image(files[index])
        if image.size != (SIZE, SIZE):
            image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            resized += 1
        images[row] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if resized:
        print(f"{split}: {resized} of {len(indices)} images resized to {SIZE} x {SIZE} pixels", file=sys.stderr)
    return images
