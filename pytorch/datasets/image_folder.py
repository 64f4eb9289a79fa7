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

from pytorch.datasets.dataset import SIZE, Source
from pytorch.errors import InputError
from pytorch.progress_bar import progress_bar
from pytorch.variance.result import check_class_names

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Suffixes of image files, in either letter case."""

FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""Formats to decode, whatever a file is called; for others PIL may start external programs."""

EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Modes of PIL that convert to RGB without losing depth."""

MAX_PIXELS = 90_000_000
"""Largest size to decode: a small file can claim any number of pixels, and so take all memory."""


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
    classes, train_files, train_labels, train_hidden = _list(folder / "train")
    test_classes, test_files, test_labels, test_hidden = _list(folder / "test")
    if hidden := train_hidden + test_hidden:
        print(f"{folder}: hidden files and folders skipped (named .* or __MACOSX): {hidden}", file=sys.stderr)
    if test_classes != classes:
        odd = sorted(set(classes) ^ set(test_classes))
        raise InputError(f"{folder}: train/ and test/ do not have the same classes; only in one of them: {odd}")
    check_class_names(classes)
    for name in classes:
        if not all(map(str.isprintable, name)):
            raise InputError(f"{folder}: the class {name!r} has unprintable characters; rename it")
    return Source(
        classes=classes,
        labels=(train_labels, test_labels),
        read=(partial(_decode, train_files, "train"), partial(_decode, test_files, "test")),
        fingerprint=_fingerprint(folder, train_files + test_files),
    )


def _fingerprint(folder: Path, files: list[Path]) -> str:
    """Digest of the names and contents of the files of a folder, independent of its path."""
    digest = hashlib.sha256()
    for path in progress_bar(files, title="checking images", unit=" files"):
        if not path.is_file():  # reading a pipe would block
            raise InputError(f"{path} is not a file")
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder)} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _list(folder: Path) -> tuple[list[str], list[Path], Tensor, int]:
    """Return the classes, the image files, their labels, and the number of hidden names skipped."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))
    images: dict[str, list[Path]] = {name: [] for name in classes}
    hidden = others = 0
    for root, folders, names in sorted(os.walk(folder, followlinks=True)):
        parts = Path(root).relative_to(folder).parts
        hidden += sum(_is_hidden(*parts, name) for name in folders + names)
        visible = [name for name in sorted(names) if not _is_hidden(*parts, name)]
        chosen = [Path(root, name) for name in visible if parts and name.lower().endswith(SUFFIXES)]
        others += len(visible) - len(chosen)
        if chosen:
            images[parts[0]] += chosen
    if others:
        print(f"{folder}: files skipped that are in no class or not named as images: {others}", file=sys.stderr)
    if not classes:
        raise InputError(f"{folder} has no class folders: it needs <class>/*")
    if empty := [name for name, files in images.items() if not files]:
        raise InputError(f"{folder}: no images in the classes {empty} (visible files named {', '.join(SUFFIXES)})")
    labels = torch.tensor([label for label, name in enumerate(classes) for _ in images[name]])
    return classes, [file for files in images.values() for file in files], labels, hidden


def _is_hidden(*parts: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _decode(files: list[Path], split: str, indices: Tensor) -> Tensor:
    """Decode the chosen files as (n, 3, 32, 32) uint8."""
    images = torch.empty(len(indices), 3, SIZE, SIZE, dtype=torch.uint8)
    resized = 0
    for row, index in enumerate(progress_bar(indices.tolist(), title=f"reading {split} images", unit=" images")):
        image = _open(files[index])
        if image.size != (SIZE, SIZE):
            image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            resized += 1
        images[row] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if resized:
        print(f"{split}: {resized} of {len(indices)} images resized to {SIZE} x {SIZE} pixels", file=sys.stderr)
    return images


def _open(file: Path) -> Image.Image:
    found = Image.MAX_IMAGE_PIXELS
    # PIL raises above twice its limit; below, it only warns, and for WebP only after allocating the memory.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
    try:
        if not file.is_file():
            raise InputError(f"{file} is not a file")
        with quiet, Image.open(file, formats=FORMATS) as image:
            # Cameras append a preview to the picture and still call it a JPEG.
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise InputError(
                    f"{file} has {image.n_frames} frames, but a sample is one image: keep one frame, or remove the file"
                )
            if image.mode not in EIGHT_BIT_MODES:
                raise InputError(f"{file}: images of mode {image.mode} are not supported; convert it to 8-bit RGB")
            return ImageOps.exif_transpose(image).convert("RGB")
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{file} claims more than {MAX_PIXELS} pixels; shrink it, or remove it") from error
    except Exception as error:  # decoders raise all kinds of errors for damaged files
        raise InputError(f"{file} cannot be read as an image ({error}); repair it, or remove it") from error
    finally:
        Image.MAX_IMAGE_PIXELS = found
