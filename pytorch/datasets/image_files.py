"""Image files: found in a folder, identified by their contents, and decoded."""

import hashlib
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

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


@dataclass(frozen=True)
class ImageFiles:
    """Image files of a folder.

    Attributes:
        folder: The folder.
        by_class: Files in each subfolder, at any depth, by its name; both sorted.
        loose: Files directly in the folder.
        hidden: Number of hidden files and folders, which are skipped.
        others: Number of visible files that are not named as images, which are skipped.
    """

    folder: Path
    by_class: dict[str, list[Path]]
    loose: list[Path]
    hidden: int
    others: int

    @property
    def classes(self) -> list[str]:
        """Names of the subfolders."""
        return [*self.by_class]

    @property
    def files(self) -> list[Path]:
        """Files in subfolders, class by class."""
        return [file for files in self.by_class.values() for file in files]

    @property
    def labels(self) -> Tensor:
        """Class of each of these files, (N,) int64."""
        return torch.tensor([label for label, files in enumerate(self.by_class.values()) for _ in files])

    def check_classes(self) -> None:
        """Check that there are classes, that each has images, and that each name can be one of a result.

        Raises:
            InputError: One of these does not hold.
        """
        if not self.by_class:
            raise InputError(f"{self.folder} has no class folders: it needs <class>/*")
        if empty := [name for name, files in self.by_class.items() if not files]:
            named = ", ".join(SUFFIXES)
            raise InputError(f"{self.folder}: no images in the classes {empty} (visible files named {named})")
        check_class_names(self.classes)
        for name in self.classes:
            if not all(map(str.isprintable, name)):
                raise InputError(f"{self.folder}: the class {name!r} has unprintable characters; rename it")


def list_images(folder: Path) -> ImageFiles:
    """List the images of a folder; its subfolders are the classes.

    Hidden files and folders are those named ``.*`` or ``__MACOSX``. Links are followed.
    """
    by_class: dict[str, list[Path]] = {
        path.name: [] for path in sorted(folder.iterdir()) if path.is_dir() and not _is_hidden(path.name)
    }
    loose: list[Path] = []
    hidden = others = 0
    for root, folders, names in sorted(os.walk(folder, followlinks=True)):
        parts = Path(root).relative_to(folder).parts
        hidden += sum(_is_hidden(*parts, name) for name in folders + names)
        visible = [name for name in sorted(names) if not _is_hidden(*parts, name)]
        chosen = [Path(root, name) for name in visible if name.lower().endswith(SUFFIXES)]
        others += len(visible) - len(chosen)
        if chosen:
            (by_class[parts[0]] if parts else loose).extend(chosen)
    return ImageFiles(folder, by_class, loose, hidden, others)


def _is_hidden(*parts: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def tell_hidden(folder: Path, hidden: int) -> None:
    """Say on stderr how many hidden files and folders are skipped."""
    if hidden:
        print(f"{folder}: hidden files and folders skipped (named .* or __MACOSX): {hidden}", file=sys.stderr)


def fingerprint_of(folder: Path, files: list[Path], *, strict: bool = True) -> str:
    """Digest of the names and contents of the files of a folder, independent of its path.

    Args:
        folder: Folder of the files.
        files: Files.
        strict: Whether a file that cannot be read is an error; otherwise its name alone counts.

    Raises:
        InputError: A file is gone, or cannot be read.
    """
    digest = hashlib.sha256()
    for path in progress_bar(files, title="checking images", unit=" files"):
        try:
            content = _content_digest(path)
        except InputError:
            if strict:
                raise
            content = ""
        digest.update(f"{path.relative_to(folder)} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _content_digest(path: Path) -> str:
    if not path.is_file():  # reading a pipe would block
        raise InputError(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); repair it, or remove it") from error


def open_image(file: Path, at_least: int | None = None) -> Image.Image:
    """Decode an image as RGB, turned as its camera recorded.

    Grey images get three equal channels.

    Args:
        file: The file.
        at_least: Sides that suffice, in pixels: the decoder may halve a larger JPEG image, up to three times. None: the
            whole image.

    Raises:
        InputError: The file is gone, damaged, too large, of several frames, or of more than eight bits.
    """
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
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            return ImageOps.exif_transpose(image).convert("RGB")
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{file} claims more than {MAX_PIXELS} pixels; shrink it, or remove it") from error
    except Exception as error:  # decoders raise all kinds of errors for damaged files
        raise InputError(f"{file} cannot be read as an image ({error}); repair it, or remove it") from error
    finally:
        Image.MAX_IMAGE_PIXELS = found
