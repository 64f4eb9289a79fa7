"""The training of one model, epoch by epoch."""

import copy
import time
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pytorch.datasets.dataset import Split
from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError, TrainingError
from pytorch.experiments.evaluation import model_inputs, random_degrees
from pytorch.experiments.faster_operations import faster_operations
from pytorch.experiments.progress import EpochBar
from pytorch.experiments.recipes import Recipe
from pytorch.experiments.torchrun import connected, group, sum_of_ranks
from pytorch.files.checked_fields import check_fields
from pytorch.variance.precision import autocast, whole_mantissas


@dataclass(frozen=True)
class Epoch:
    """The record of an epoch, over its training samples while they were trained on.

    Attributes:
        loss: Mean negative log-likelihood in nats, with the label smoothing of the recipe.
        accuracy: Fraction classified correctly.
        seconds: Wall time in seconds.
    """

    loss: float
    accuracy: float
    seconds: float


def recorded_epochs(state: dict[str, Any]) -> list[Epoch]:
    """Return the records of the epochs in the state of a training.

    Raises:
        TypeError, KeyError, ValueError: The state has none, or they are malformed.
    """
    history = [Epoch(**epoch) for epoch in state["history"]]
    for epoch in history:
        check_fields(epoch)
    return history


class Training:
    """The training of a model, which can stop after any epoch and continue later, on a CPU bit for bit.

    Each epoch uses every sample once, in a new random order. ``rotated`` turns each sample by a new angle in every
    epoch, uniform in [-180°, 180°). Order, angles and dropout depend only on the seed and the number of the epoch;
    order and dropout are the same with and without ``rotated``.

    Attributes:
        model: Network, trained in place.
        recipe: Settings of the training.
        epochs: Total number of epochs.
        history: Records of the epochs so far.

    Args:
        model: Network on ``device`` that returns log-probabilities.
        split: Training samples, which are moved to ``device``.
        normalization: Normalization constants of the training split.
        recipe: Epochs, batch size, optimiser.
        rotated: Whether to rotate the samples.
        seed: Random seed.
        device: Device to compute on.
        precision: Precision of convolutions and matrix products, ``"fp32"`` or ``"bf16"``.
    """

    def __init__(
        self,
        model: nn.Module,
        split: Split,
        normalization: Normalization,
        recipe: Recipe,
        *,
        rotated: bool,
        seed: int,
        device: torch.device,
        precision: str = "fp32",
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.epochs = recipe.epochs_of(rotated=rotated)
        self.history: list[Epoch] = []
        self._images, self._labels = split.images.to(device), split.labels.to(device)
        self._normalization = normalization
        self._rotated = rotated
        self._seed = seed
        self._device = device
        self._precision = precision
        self._steps = -(-len(split) // recipe.batch_size)
        self._optimizer = recipe.optimizer_for(model)
        self._schedule = recipe.schedule_for(self._optimizer, self.epochs * self._steps)
        self._network: nn.Module = self.model
        self._rank, self._ranks = 0, 1

    def share(self) -> None:
        """Share each batch among the processes of the group, if there is one; all call this before the next epoch.

        Parts differ in size by at most one. Gradients, losses and accuracies are those of the whole batch, except that
        each process has its own dropout and, on a CPU, normalises by the statistics of its part. The running averages
        of these are then those of rank 0.

        Raises:
            InputError: There are more processes than samples in a batch.
            RankError: Another process has stopped.
        """
        if group() is None:
            return
        self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
        if (fewest := len(self._labels) // self._steps) < self._ranks:
            raise InputError(f"{self._ranks} processes cannot share batches of {fewest} samples: start fewer")
        if self._device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        with connected():
            self._network = nn.parallel.DistributedDataParallel(self.model)

    def run_epoch(self, name: str | None = None) -> Epoch:
        """Train for one more epoch.

        Args:
            name: Title of the progress bar; None: no bar.

        Returns:
            The record of the epoch, also appended to ``history``.

        Raises:
            TrainingError: The loss is not finite, or the device is out of memory.
            RankError: Another process that shares the batches has stopped.
        """
        start = time.perf_counter()
        number = len(self.history) + 1
        bar = EpochBar(name, number, self.epochs, len(self._labels))
        devices = [self._device] if self._device.type == "cuda" else []
        try:
            with bar, whole_mantissas(), torch.random.fork_rng(devices=devices), connected():
                torch.manual_seed(derived_seed(self._seed, number, f"dropout{self._rank or ''}"))
                loss, right = self._pass_over_samples(number, bar)
        except torch.OutOfMemoryError as error:
            size = self.recipe.batch_size
            advice = (
                f"start again with --overwrite --batch-size {size // 2}" if size > 1 else "another device is needed"
            )
            raise TrainingError(f"{self._device} is out of memory with batches of {size}: {advice}") from error
        count = len(self._labels)
        record = Epoch(loss.item() / count, right.item() / count, time.perf_counter() - start)
        if not np.isfinite(record.loss):
            raise TrainingError(
                f"the loss became {record.loss} in epoch {number}: "
                "start again, with --overwrite and a larger --batch-size"
            )
        self.history.append(record)
        return record

    def _pass_over_samples(self, epoch: int, bar: EpochBar) -> tuple[Tensor, Tensor]:
        """Take all steps of an epoch; return the sum of all losses and the number classified correctly."""
        loss_sum, right = (torch.zeros((), dtype=kind, device=self._device) for kind in (torch.float64, torch.int64))
        # Generators on the CPU give the same numbers for every device.
        orders, angles = (
            torch.Generator().manual_seed(derived_seed(self._seed, epoch, purpose)) for purpose in ("order", "angles")
        )
        count, seen = len(self._labels), 0
        order = torch.randperm(count, generator=orders).to(self._device, non_blocking=True)
        degrees = random_degrees(count, angles).to(self._device, non_blocking=True) if self._rotated else None
        self.model.train()
        # Parts of nearly equal size avoid a last one whose batch statistics mean nothing.
        parts = order.tensor_split(self._steps)
        turns = repeat(None) if degrees is None else map(self._part, degrees.tensor_split(self._steps))
        for batch, turn in zip(parts, turns, strict=False):
            indices = self._part(batch)
            inputs = model_inputs(self._images[indices], turn, self._normalization)
            # The mean over ranks of gradients weighted like this is the gradient of the mean over the batch.
            loss, correct = self._step(inputs, self._labels[indices], weight=len(indices) * self._ranks / len(batch))
            loss_sum += loss * len(indices)
            right += correct
            seen += len(indices)
            bar.update(len(batch), seen, loss_sum, right)
        return sum_of_ranks(loss_sum), sum_of_ranks(right)

    def _part(self, batch: Tensor) -> Tensor:
        """Return the part of a batch that is this process's."""
        return batch.tensor_split(self._ranks)[self._rank]

    def _step(self, inputs: Tensor, labels: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Take one step of gradient descent; return the mean loss and the number classified correctly."""
        # Once per step, as autocast caches converted weights.
        with autocast(self._precision, self._device), faster_operations(self._device):
            log_probabilities = self._network(inputs)
        loss = self.recipe.loss(log_probabilities, labels)
        self._optimizer.zero_grad()
        (loss * weight).backward()
        self._optimizer.step()
        self._schedule.step()
        return loss.detach(), (log_probabilities.argmax(dim=1) == labels).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later epochs depend on, as plain containers and tensors on the CPU."""
        return {
            "weights": _on_cpu(dict(self.model.state_dict())),
            "optimizer": _on_cpu(self._optimizer.state_dict()),
            "schedule": self._schedule.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a training with the same arguments from its ``state_dict``.

        Raises:
            TrainingError: The state does not fit; this object cannot be used any more.
        """
        try:
            history = recorded_epochs(state)
            if not 0 < len(history) <= self.epochs:
                raise ValueError(f"it has {len(history)} epochs of {self.epochs}")
            self._check_schedule(state["schedule"], len(history))
            self._check_optimizer(state["optimizer"])
            self.model.load_state_dict(state["weights"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"it is not the state of such a training ({reason})") from error
        self.history = history

    def _check_schedule(self, found: dict[str, Any], epochs: int) -> None:
        """Check that a state of the schedule is the initial one, advanced by a number of epochs.

        Raises:
            ValueError: It is another schedule or another number of epochs.
        """
        beginning = self._schedule.state_dict()
        _check_alike(found, beginning, "schedule")
        constant = beginning.keys() - {"last_epoch", "_step_count", "_last_lr", "_is_initial"}
        if any(found[name] != beginning[name] for name in constant) or found["last_epoch"] != epochs * self._steps:
            raise ValueError("its schedule is another")

    def _check_optimizer(self, found: dict[str, Any]) -> None:
        """Check that a state of the optimiser differs from that after one step only in values that steps change.

        Raises:
            ValueError: It differs in more.
        """
        expected = self._optimizer_state_after_a_step()
        _check_alike(found, expected)
        for its, own in zip(found["param_groups"], expected["param_groups"], strict=True):
            constant = own.keys() - {"lr", "betas", "momentum"}  # which the schedule changes
            if any(its[name] != own[name] for name in constant):
                raise ValueError("its optimizer is another")

    def _optimizer_state_after_a_step(self) -> dict[str, Any]:
        """Return a state like that of the optimiser, which is still empty, but with other numbers."""
        twin = copy.deepcopy(self.model)
        optimizer = self.recipe.optimizer_for(twin)
        self.recipe.schedule_for(optimizer, 1)
        for parameter in twin.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        return optimizer.state_dict()


def _on_cpu(content: Any) -> Any:
    """Return plain containers with their tensors on the CPU, copied only if they were elsewhere."""
    if isinstance(content, torch.Tensor):
        return content.cpu()
    if isinstance(content, dict):
        return {key: _on_cpu(value) for key, value in content.items()}
    return type(content)(map(_on_cpu, content)) if isinstance(content, list | tuple) else content


def _check_alike(found: Any, expected: Any, name: str = "state") -> None:
    """Check that two states differ only in numbers.

    Raises:
        ValueError: They differ in more; the message names the part.
    """
    if type(found) is not type(expected):
        raise ValueError(f"{name} is a {type(found).__name__}, not a {type(expected).__name__}")
    if isinstance(expected, torch.Tensor):
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ValueError(f"{name} is of another shape or type")
    elif isinstance(expected, dict | list | tuple):
        keys = expected.keys() if isinstance(expected, dict) else range(len(expected))
        if len(found) != len(expected) or (isinstance(expected, dict) and found.keys() != keys):
            raise ValueError(f"{name} has other parts")
        for key in keys:
            _check_alike(found[key], expected[key], f"{name}.{key}")


def derived_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a seed for one purpose in one epoch that differs from all others.

    >>> derived_seed(0, 1, "order") == derived_seed(0, 1, "angles")
    False
    """
    words = np.random.SeedSequence([seed, epoch, *purpose.encode()]).generate_state(2)
    return int(words[0]) << 31 | int(words[1]) >> 1
