"""Batches of images of any size, decoded from a folder of any size while a network computes."""

import hashlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from pytorch.checked_numbers import whole_number
from pytorch.datasets.dataset import balanced_subset
from pytorch.datasets.image_files import SUFFIXES, ImageFiles, fingerprint_of, list_images, open_image, tell_hidden
from pytorch.errors import InputError, ReportedError, one_line
from pytorch.variance.batches import balanced_order

CHUNK = 16
"""Images that a worker decodes in one go: few, so that all workers share a batch, and stop soon when told to."""

DRAFT = 2
"""How many times the wanted size a JPEG image keeps when its decoder shrinks it. Decoding a photograph of 12 megapixels
for 224 pixels then takes 62 ms instead of 165 ms. Values change by 0.3 of 255 on average, and by 7 at most."""

MOST_WORKERS = 8
"""Largest number of workers that is chosen; each takes some 30 MB."""

MOST_NAMED = 3
"""Number of files to name on stderr; the others are counted."""

SPLITS = {"train", "test", "val", "valid", "validation"}
"""Names of folders that are hardly classes."""


def folder_batches(
    folder: Path,
    image_size: int,
    batch_size: int,
    samples: int | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> "ImageBatches":
    """List a folder of images, and return their batches; images are decoded while iterating.

    Each image is resized so that its shorter side has S pixels, then cropped to the centre: torchvision's ``Resize(S)``
    and ``CenterCrop(S)``, which is how networks are usually evaluated on ImageNet. Grey images get three equal
    channels, and photographs are turned as their camera recorded. Files of other kinds, and hidden files and folders
    (``.*`` and ``__MACOSX``), are skipped and counted on stderr.

    Args:
        folder: Folder with ``<class>/*``, or with images and no classes. If it has ``train/`` and ``test/``, only
            ``test/`` is read.
        image_size: Height and width of the images, S, in pixels.
        batch_size: Maximum number of images per batch.
        samples: Maximum number of images, balanced over the classes and drawn with ``seed``; None: all.
        seed: Random seed for that draw and for the order, which is random and balanced by class.
        workers: Number of processes that decode; 0: decode in this process; None: one per core, at most
            ``MOST_WORKERS``.

    Raises:
        InputError: The folder has no images, has both classes and images without one, or an argument is invalid.
    """
    folder = Path(folder)
    whole_number("image_size", image_size, least=1)
    whole_number("batch_size", batch_size, least=1)
    whole_number("seed", seed, least=0)
    if samples is not None:
        whole_number("samples", samples, least=1)
    if workers is not None:
        whole_number("workers", workers, least=0)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give one with images")
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        folder /= "test"
    found = list_images(folder)
    tell_hidden(folder, found.hidden)
    if found.others:
        print(f"{folder}: files skipped that are not named as images: {found.others}", file=sys.stderr)
    return ImageBatches(found, image_size, batch_size, samples, seed, workers)


class ImageBatches:
    """Batches of a folder of images; see ``folder_batches``. They can be gone through any number of times.

    A batch is a pair: images, (B, 3, S, S) uint8, and labels, (B,) int64, or None if there are no classes. Batch sizes
    differ by at most one, except for unreadable files. About one batch is decoded ahead.

    Attributes:
        classes: Names of the classes; a label is an index into them. Empty if there are none.
        samples: Number of files to read.
        batch_size: Maximum number of images per batch.
        digest: Hexadecimal digits that depend on the order of the files and on their labels.
        unreadable: Files that the last iteration could not read, and left out; stderr names the first.
    """

    def __init__(
        self, found: ImageFiles, image_size: int, batch_size: int, samples: int | None, seed: int, workers: int | None
    ) -> None:
        self.classes = _classes(found)
        self.unreadable: list[Path] = []
        files = found.files or found.loose
        labels = found.labels if self.classes else torch.zeros(len(files), dtype=torch.int64)
        chosen = balanced_subset(labels, max(1, len(self.classes)), samples, seed)
        self.samples = len(chosen)
        order = chosen[balanced_order(labels[chosen], seed)]
        self._order = order
        self.batch_size = batch_size
        self.digest = hashlib.sha256(torch.cat([order, labels]).numpy()).hexdigest()[:16]
        self._folder = found.folder
        self._files = list(map(str, files))  # a Path takes several times the memory
        self._labels = labels
        self._parts = _parts(order, batch_size)
        self._image_size = image_size
        self._workers = min(_cores(), MOST_WORKERS) if workers is None else workers

    def shard(self, number: int, count: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Iterate over batches of the files at places number, number + count, ... of the order."""
        part = copy(self)
        part._order = self._order[number::count]
        part.samples, part._parts = len(part._order), _parts(part._order, self.batch_size)
        yield from part if part.samples else ()
        self.unreadable = part.unreadable

    @cached_property
    def fingerprint(self) -> str:
        """Distinguishes folders by the names and contents of all their images, whichever are chosen."""
        return fingerprint_of(self._folder, list(map(Path, self._files)), strict=False)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Decode the batches.

        Raises:
            InputError: No file can be read.
            ReportedError: A worker was killed.
        """
        unreadable: dict[str, str] = {}
        seen = 0
        decoded = _start(self._loader())
        try:
            for part in self._parts:
                images, reasons = zip(*[_next(decoded) for _ in part.split(CHUNK)], strict=True)
                images = torch.cat([*map(torch.from_numpy, images)])
                files = [self._files[index] for index in part.tolist()]
                found = dict(zip(files, [reason for each in reasons for reason in each], strict=True))
                unreadable |= {file: reason for file, reason in found.items() if reason}
                readable = torch.tensor([not reason for reason in found.values()])
                seen += len(images)
                if len(images):
                    yield images, self._labels[part[readable]] if self.classes else None
            if not seen:
                raise InputError(f"{self._folder}: none of the {self.samples} images can be read: "
                                 f"{next(iter(unreadable.values()))}")  # fmt: skip
        finally:
            # After an error, its traceback may keep the iterator, and so the workers, alive.
            getattr(decoded, "_shutdown_workers", lambda: None)()
            self.unreadable = [*map(Path, unreadable)]
            if unreadable and seen:
                self._tell(list(unreadable.values()))

    def _loader(self) -> DataLoader:
        """Decodes chunks, in order; a worker gets the names of its files, but holds no list of them."""
        chunks = [
            [self._files[index] for index in chunk.tolist()] for part in self._parts for chunk in part.split(CHUNK)
        ]
        workers = min(self._workers, len(chunks))
        ahead = -(-len(self._parts[0]) // CHUNK)
        several = {
            "num_workers": workers,
            "prefetch_factor": -(-ahead // workers),
            "worker_init_fn": _exit_at_once,
            # Forked workers start at once, share the memory of this process and need no guard of the main module.
            "multiprocessing_context": "fork" if sys.platform == "linux" else None,
        } if workers else {}  # fmt: skip
        # A generator of its own leaves the global one as it is. The function to collate keeps chunks as they are.
        return DataLoader(
            _Decoder(self._image_size), batch_size=None, sampler=chunks, collate_fn=tuple,
            generator=torch.Generator(), **several,
        )  # fmt: skip

    def _tell(self, reasons: list[str]) -> None:
        more = f"; and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
        named = "; ".join(one_line(reason, 300) for reason in reasons[:MOST_NAMED])
        tqdm.write(f"{self._folder}: {len(reasons)} of {self.samples} images left out: {named}{more}", file=sys.stderr)


def _parts(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Split places into batches whose sizes differ by at most one."""
    return order.tensor_split(-(-len(order) // batch_size) or 1)


def _classes(found: ImageFiles) -> list[str]:
    """Names of the classes, or none if all images are directly in the folder.

    Raises:
        InputError: There are no images; or both classes and images without one; or the classes look like splits.
    """
    folders = [name for name, files in found.by_class.items() if files]
    if not folders and found.loose:
        return []
    if not folders:
        raise InputError(f"{found.folder} has no images (visible files named {', '.join(SUFFIXES)})")
    if found.loose:
        raise InputError(
            f"{found.folder} has {len(found.loose)} images beside folders of images ({folders[0]}, ...): if these are "
            "classes, move the images into one of them"
        )
    if SPLITS.issuperset(map(str.lower, folders)):
        raise InputError(f"{found.folder}: {', '.join(folders)} look like splits: give one of them as the folder")
    found.check_classes()
    return found.classes


class _Decoder(Dataset):
    """Decodes images; a data set whose samples are lists of files."""

    def __init__(self, image_size: int) -> None:
        self._image_size = image_size

    def __getitem__(self, files: list[str]) -> tuple[np.ndarray, list[str]]:
        """Decode files.

        Returns:
            Images of the readable files, (n, 3, S, S) uint8, and for each file why it is not readable, or "".
            An array goes to another process through a pipe. A tensor would go through shared memory, of which
            containers often have little.
        """
        images, reasons = [], []
        for file in files:
            try:
                image = open_image(Path(file), at_least=DRAFT * self._image_size)
                images.append(np.asarray(resized(image, self._image_size)))
                reasons.append("")
            except InputError as error:
                reasons.append(str(error))
        stacked = np.empty((len(images), 3, self._image_size, self._image_size), dtype=np.uint8)
        for place, pixels in zip(stacked, images, strict=True):
            place[:] = pixels.transpose(2, 0, 1)
        return stacked, reasons


def _exit_at_once(worker: int) -> None:
    """Let a worker exit without sending what is left: if the main process is killed, it would wait for ever."""
    Finalize(None, os._exit, args=(0,), exitpriority=0)  # before the queue's own, which waits


def resized(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to ``size`` and crop the centre, as torchvision's ``Resize`` and ``CenterCrop`` do.

    The filter is bilinear and antialiased: torchvision's networks are evaluated with it, and it cannot overshoot.
    Only the crop is computed, so an image may be long and thin.
    """
    shorter = min(image.size)
    whole = [int(size * side / shorter) for side in image.size]
    starts = [round((side - size) / 2) for side in whole]
    left, top = (start * side / length for start, side, length in zip(starts, image.size, whole, strict=True))
    right, bottom = (
        (start + size) * side / length for start, side, length in zip(starts, image.size, whole, strict=True)
    )
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(loader: DataLoader) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Start the workers."""
    # Python 3.12 warns of forks beside threads, whose locks may be held: workers use no lock of this process.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning), _interrupts_withheld():
        return iter(loader)


@contextmanager
def _interrupts_withheld() -> Iterator[None]:
    """A context in which Ctrl-C waits; processes started in it never get one, and leave it to this process."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _next(decoded: Iterator[tuple[np.ndarray, list[str]]]) -> tuple[np.ndarray, list[str]]:
    try:
        return next(decoded)
    except RuntimeError as error:
        reason = one_line(error, longest=300)
        raise ReportedError(f"decoding images failed ({reason}): use fewer workers, or workers=0") from error
