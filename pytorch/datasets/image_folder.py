"""A folder of images as a data set: ``train/<class>/*`` and ``test/<class>/*``."""

import hashlib
import os
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from pytorch.datasets.dataset import SIZE, Source
from pytorch.errors import InputError
from pytorch.torchvision_import import import_torchvision
from pytorch.variance.result import check_class_names

FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""What a file may hold, however it is called; of others PIL may start programs to decode them."""

EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Modes of PIL that become RGB without losing depth."""


def read_image_folder(folder: Path) -> Source:
    """List the images of a folder; they are decoded, as 3 × 32 × 32, once it is known which are wanted.

    Grey images get three equal channels, and photographs are turned as their camera noted. Images of another size
    are resized, and files of other kinds left out; both are said.

    Args:
        folder: With ``train/<class>/*`` and ``test/<class>/*``; the classes are those of ``train``.

    Raises:
        InputError: A split is missing, a class has no image in it, the splits have not the same classes, or a class
            cannot be called what it is called.
    """
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise InputError(f"{folder} has no folder {split}/: train/<class>/* and test/<class>/* are needed")
    classes, train_files, train_labels = _list(folder / "train")
    test_classes, test_files, test_labels = _list(folder / "test")
    if test_classes != classes:
        odd = sorted(set(classes) ^ set(test_classes))
        raise InputError(f"{folder}: train/ and test/ do not have the same classes; only in one of them: {odd}")
    check_class_names(classes)
    for name in classes:
        if not all(map(str.isprintable, name)):
            raise InputError(f"{folder}: the class {name!r} has letters that cannot be printed; rename it")
    return Source(
        classes=classes,
        labels=(train_labels, test_labels),
        read=(partial(_decode, train_files, "train"), partial(_decode, test_files, "test")),
        fingerprint=_fingerprint(folder, train_files + test_files),
    )


def _fingerprint(folder: Path, files: list[Path]) -> str:
    """A number that tells the files of a folder, by name and content, from those of another, wherever it lies."""
    digest = hashlib.sha256()
    for path in tqdm(files, desc="checking images", unit=" files", disable=None):
        if not path.is_file():  # a pipe would be waited for
            raise InputError(f"{path} is no file")
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder)} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _list(folder: Path) -> tuple[list[str], list[Path], Tensor]:
    """Return the classes, the image files and their labels."""
    try:
        listing = import_torchvision().datasets.ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: {str(error).splitlines()[0]}") from error
    files = [Path(path) for path, _ in listing.samples]
    walks = [os.walk(folder / name, followlinks=True) for name in listing.classes]  # as the listing does
    others = sum(len(names) for walk in walks for _, _, names in walk) - len(files)
    if others:
        print(f"{folder}: files left out that are not named as images: {others}", file=sys.stderr)
    return listing.classes, files, torch.tensor(listing.targets)


def _decode(files: list[Path], split: str, indices: Tensor) -> Tensor:
    """Decode the chosen files as (n, 3, 32, 32) uint8."""
    images = torch.empty(len(indices), 3, SIZE, SIZE, dtype=torch.uint8)
    resized = 0
    for row, index in enumerate(tqdm(indices.tolist(), desc=f"reading {split} images", disable=None)):
        image = _open(files[index])
        if image.size != (SIZE, SIZE):
            image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            resized += 1
        images[row] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if resized:
        print(f"{split}: {resized} of {len(indices)} images resized to {SIZE} x {SIZE} pixels", file=sys.stderr)
    return images


def _open(file: Path) -> Image.Image:
    try:
        if not file.is_file():
            raise InputError(f"{file} is no file")
        with warnings.catch_warnings(), Image.open(file, formats=FORMATS) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Cameras put a preview after the picture, and call it a JPEG all the same.
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise InputError(f"{file} has {image.n_frames} frames, and a sample is one: keep one, or remove it")
            if image.mode not in EIGHT_BIT_MODES:
                raise InputError(f"{file}: images of mode {image.mode} are not supported; convert it to 8-bit RGB")
            return ImageOps.exif_transpose(image).convert("RGB")
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file makes them
        raise InputError(f"{file} cannot be read as an image ({error}); remove it or repair it") from error
