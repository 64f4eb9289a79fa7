"""How far a training has come, for a person and for a log."""

import time

from torch import Tensor
from tqdm import tqdm

SHOW_EVERY = 0.5
"""Seconds between two looks at the loss: each waits for the device."""


class EpochBar:
    """A progress bar of an epoch with loss, accuracy, images per second and time left; then a line for the epoch.

    A context manager. Where the output is no terminal there are the lines alone.

    Args:
        name: What to call the work; None: neither bar nor line.
        epoch: The number of the epoch, from 1.
        epochs: How many there will be.
        samples: Of an epoch.
    """

    def __init__(self, name: str | None, epoch: int, epochs: int, samples: int) -> None:
        self._name = name
        self._epoch = f"epoch {epoch}/{epochs}"
        self._left = epochs - epoch
        self._samples = samples
        self._shown = self._start = time.perf_counter()
        self._bar = tqdm(
            desc=f"{name}, {self._epoch}", total=samples, unit=" images", leave=False, disable=name is None or None
        )

    def __enter__(self) -> "EpochBar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def update(self, count: int, loss_sum: Tensor, right: Tensor) -> None:
        """Tell of ``count`` more samples, and of the sums so far."""
        self._bar.update(count)
        now = time.perf_counter()
        if self._bar.disable or now - self._shown < SHOW_EVERY:
            return
        self._shown = now
        seconds_each = (now - self._start) / self._bar.n
        left = tqdm.format_interval(seconds_each * (self._samples * (self._left + 1) - self._bar.n))
        self._bar.set_postfix_str(
            f"loss {loss_sum.item() / self._bar.n:.4f}, accuracy {right.item() / self._bar.n:.2%}, all epochs {left}"
        )

    def report(self, loss: float, accuracy: float, seconds: float) -> None:
        """Print the line of the epoch."""
        if self._name is not None:
            result = f"loss {loss:.4f}, accuracy {accuracy:.2%}"
            tqdm.write(
                f"{self._name}: {self._epoch}, {result}, {seconds:.1f} s, {self._samples / seconds:.0f} images/s"
            )
