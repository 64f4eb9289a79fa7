"""The progress bar of a training epoch."""

import time

from torch import Tensor

from pytorch.progress_bar import progress_bar

SHOW_EVERY = 0.5
"""Seconds between two updates of the loss, each of which waits for the device."""


class EpochBar:
    """A progress bar of an epoch with loss, accuracy, images per second and time left.

    A context manager.

    Args:
        name: Title of the bar; None: no bar.
        epoch: Number of the epoch, from 1.
        epochs: Total number of epochs.
        samples: Number of samples in an epoch.
    """

    def __init__(self, name: str | None, epoch: int, epochs: int, samples: int) -> None:
        self._left = epochs - epoch
        self._samples = samples
        self._shown = self._start = time.perf_counter()
        title = None if name is None else f"{name}, epoch {epoch}/{epochs}"
        self._bar = progress_bar(title=title, total=samples, unit=" images", leave=False)

    def __enter__(self) -> "EpochBar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def update(self, count: int, seen: int, loss_sum: Tensor, right: Tensor) -> None:
        """Show ``count`` more samples, and the loss and the accuracy of those ``seen`` by this process so far."""
        self._bar.update(count)
        now = time.perf_counter()
        if self._bar.disable or now - self._shown < SHOW_EVERY:
            return
        self._shown = now
        seconds_each = (now - self._start) / self._bar.n
        left = self._bar.format_interval(seconds_each * (self._samples * (self._left + 1) - self._bar.n))
        self._bar.set_postfix_str(
            f"loss {loss_sum.item() / seen:.4f}, accuracy {right.item() / seen:.2%}, all epochs {left}"
        )
