"""One model, from a recipe to trained weights."""

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from pytorch.datasets import Normalization, Split
from pytorch.errors import TrainingError
from pytorch.evaluation import model_inputs, random_degrees
from pytorch.recipes import Recipe


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to, over its training samples as they were seen.

    Attributes:
        loss: Mean negative log-likelihood, in nats.
        accuracy: Fraction classified right.
        seconds: Wall time.
    """

    loss: float
    accuracy: float
    seconds: float


def train(
    model: nn.Module,
    split: Split,
    normalization: Normalization,
    recipe: Recipe,
    *,
    rotated: bool,
    seed: int,
    device: torch.device,
    name: str | None = None,
) -> list[Epoch]:
    """Train ``model`` in place.

    Every sample is seen once an epoch, in a new random order: unmodified, or, if ``rotated``, turned by an angle of
    its own, drawn anew in each epoch, uniform in [-180°, 180°). The order of the samples depends on the seed alone,
    not on ``rotated``.

    Args:
        model: Returns log-probabilities; on ``device``.
        split: The training samples.
        normalization: Constants of the training split.
        recipe: Epochs, batch size and optimiser.
        rotated: Whether to turn the samples.
        seed: Of the order, the angles and the dropout.
        device: Where to compute.
        name: What to call the work on the progress bar and in the line that each epoch prints; None: neither.

    Returns:
        A record of each epoch.

    Raises:
        TrainingError: The loss is no longer a finite number.
    """
    epochs = recipe.rotated_epochs if rotated else recipe.epochs
    orders, angles = (torch.Generator().manual_seed(seed + offset) for offset in (0, 1))
    images, labels = split.images.to(device), split.labels.to(device)
    steps = -(-len(split) // recipe.batch_size)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=epochs * steps)
    history = []
    bar = tqdm(desc=name, total=epochs * len(split), unit=" images", disable=name is None or None)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), bar:
        torch.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            model.train()
            loss_sum, right = torch.zeros((), device=device), torch.zeros((), device=device)
            # Parts of nearly equal size, rather than a last one so small that its batch statistics mean nothing.
            for indices in torch.randperm(len(split), generator=orders).tensor_split(steps):
                degrees = random_degrees(len(indices), angles) if rotated else None
                inputs = model_inputs(images[indices], degrees, normalization)
                loss, correct = _step(model, inputs, labels[indices], optimizer)
                schedule.step()
                loss_sum += loss * len(indices)
                right += correct
                bar.update(len(indices))
            record = Epoch(loss_sum.item() / len(split), right.item() / len(split), time.perf_counter() - start)
            history.append(record)
            _report(bar, name, f"epoch {epoch}/{epochs}", record)
            if not torch.isfinite(loss_sum):
                raise TrainingError(f"the loss became {loss_sum.item()} in epoch {epoch}: try a larger --batch-size")
    return history


def _step(model: nn.Module, inputs: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Tensor]:
    """Take one step of gradient descent; return the mean loss and the number classified right."""
    log_probabilities = model(inputs)
    loss = F.nll_loss(log_probabilities, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach(), (log_probabilities.argmax(dim=1) == labels).sum()


def _report(bar: tqdm, name: str | None, epoch: str, record: Epoch) -> None:
    result = f"loss {record.loss:.4f}, accuracy {record.accuracy:.2%}"
    bar.set_postfix_str(f"{epoch}, {result}")
    if name is not None:
        bar.write(f"{name}: {epoch}, {result}, {record.seconds:.1f} s")
