"""How well a model classifies upright and rotated data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pytorch.datasets.dataset import Split
from pytorch.datasets.normalization import Normalization
from pytorch.progress_bar import progress_bar
from pytorch.transformations import Rotation, rotate
from pytorch.variance.precision import autocast
from pytorch.variance.recording.left_as_found import evaluation_mode

ANGLE_SEED = 0
"""Seed for the angles of the rotated data, which are the same for every model."""

ANGLES = tuple(range(-180, 181, 15))
"""Angles of an angle curve, in degrees; both ends are the same rotation."""


@dataclass(frozen=True)
class AngleCurve:
    """Accuracy against the angle by which all test samples are rotated.

    Attributes:
        degrees: A angles, counter-clockwise.
        right: A lists of K numbers: the correctly classified samples of each class at that angle.
        counts: K numbers: the samples of each class.
    """

    degrees: list[float]
    right: list[list[int]]
    counts: list[int]

    def __post_init__(self) -> None:
        """Check that the lists fit together.

        Raises:
            ValueError: They do not.
        """
        if np.shape(self.right) != (len(self.degrees), len(self.counts)):
            raise ValueError("an angle curve needs a count for each angle and class")

    @property
    def accuracy(self) -> np.ndarray:
        """Accuracy over all samples at each angle, (A,) float64."""
        return np.sum(self.right, axis=1) / np.sum(self.counts)

    @property
    def class_accuracy(self) -> np.ndarray:
        """Accuracy over each class at each angle, (A, K) float64; NaN for a class without samples."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.right) / np.asarray(self.counts)


@dataclass(frozen=True)
class Evaluator:
    """Classifies a test split.

    Attributes:
        split: Test split, of which every sample counts.
        classes: Number of classes, K.
        normalization: Normalization constants of the training split.
        batch_size: Samples per forward pass.
        device: Device of the model, and of the computation.
        precision: Precision of the computation, a key of ``PRECISIONS``.
    """

    split: Split
    classes: int
    normalization: Normalization
    batch_size: int
    device: torch.device
    precision: str = "fp32"

    def accuracies(self, model: nn.Module) -> dict[str, float]:
        """Return the fractions of upright and rotated samples that the model classifies correctly.

        Returns:
            ``upright``: for the unmodified samples; ``rotated``: for samples rotated by individual angles, uniform in
            [-180°, 180°) and the same in every call.
        """
        degrees = random_degrees(len(self.split), torch.Generator().manual_seed(ANGLE_SEED))
        return {"upright": self.accuracy(model), "rotated": self.accuracy(model, degrees)}

    def accuracy(self, model: nn.Module, degrees: Tensor | None = None) -> float:
        """Return the fraction of the samples that the model classifies correctly.

        Args:
            model: Network whose mode stays unchanged.
            degrees: Rotation of each sample, (N,); None: no rotation.
        """

        def turned(images: Tensor, rows: Tensor) -> Tensor:
            return images if degrees is None else rotate(images, degrees[rows])

        return self._right(model, turned).double().mean().item()

    def angle_curve(self, model: nn.Module, name: str | None = None) -> AngleCurve:
        """Rotate all samples by each of ``ANGLES`` and count the correctly classified ones.

        Args:
            model: Network whose mode stays unchanged.
            name: Title of the progress bar; None: no bar.
        """
        labels = self.split.labels
        counts = torch.bincount(labels, minlength=self.classes)
        right = []
        for angle in progress_bar(ANGLES[:-1], title=name, unit=" angles", leave=False):
            turn = Rotation(angle)
            found = self._right(model, lambda images, _, turn=turn: turn(images))
            right.append(torch.bincount(labels[found], minlength=self.classes).tolist())
        return AngleCurve([float(angle) for angle in ANGLES], [*right, right[0]], counts.tolist())

    def _right(self, model: nn.Module, turned: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Mark the samples that are classified correctly, (N,) bool on the CPU."""
        right = []
        with evaluation_mode(model), torch.inference_mode():
            batches = self.split.images.to(self.device).split(self.batch_size)
            for images, rows in zip(batches, torch.arange(len(self.split)).split(self.batch_size), strict=True):
                inputs = model_inputs(turned(images, rows), None, self.normalization)
                with autocast(self.precision, self.device):
                    scores = model(inputs)
                right.append(scores.argmax(dim=1))
        return torch.cat(right).cpu() == self.split.labels


def model_inputs(images: Tensor, degrees: Tensor | None, normalization: Normalization) -> Tensor:
    """Rotate each image by its angle, normalise, and use the memory layout that suits convolutions.

    Args:
        images: (B, C, H, W).
        degrees: (B,), on any device; None: no rotation.
        normalization: Normalization constants of the training split.
    """
    if degrees is not None:
        images = rotate(images, degrees)
    return normalization(images).contiguous(memory_format=torch.channels_last)


def random_degrees(count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` angles, uniform in [-180°, 180°)."""
    return torch.rand(count, generator=generator) * 360 - 180
