"""The embedded data set: 1,797 handwritten digits; see ``digits.md`` for their source and licence."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from pytorch.datasets.dataset import SIZE, Source

FILE = Path(__file__).with_name("digits.csv.gz")
ENLARGED = 24
"""Side of the enlarged 8 × 8 images, in pixels. Its diagonal is 34: rotating within 32 × 32 cuts off almost nothing."""


def read_digits(data_dir: Path | None) -> Source:
    """Read the digits, 1 × 32 × 32; no download.

    The 8 × 8 images have values 0 to 16. They are enlarged threefold (bilinear), scaled to 0 to 255 and padded with
    black to 32 × 32. Every fifth sample of a class is a test sample: 1,442 for training, 355 for testing.

    Args:
        data_dir: Unused; nothing is downloaded.
    """
    table = torch.from_numpy(np.loadtxt(FILE, delimiter=",", dtype=np.int64))
    small = table[:, :-1].reshape(-1, 1, 8, 8).float()
    enlarged = F.interpolate(small, size=(ENLARGED, ENLARGED), mode="bilinear", align_corners=False)
    margin = (SIZE - ENLARGED) // 2
    images = F.pad((enlarged * (255 / 16)).round().to(torch.uint8), [margin] * 4)
    labels = table[:, -1]
    rank = (F.one_hot(labels).cumsum(dim=0) - 1).gather(1, labels.unsqueeze(1)).squeeze(1)
    splits = [(rank % 5 != 4).nonzero().squeeze(1), (rank % 5 == 4).nonzero().squeeze(1)]
    return Source(
        classes=[str(digit) for digit in range(10)],
        labels=tuple(labels[split] for split in splits),
        read=tuple(images[split].__getitem__ for split in splits),
    )
