#!/usr/bin/env python3
"""How much longer does training take than its bare steps, and how much less than with a data loader?

    make bench
    PYTHONPATH=. python benchmarks/train_speed.py --models simple_conv resnet

The floor is forward, loss, backward and step on batches that are already rotated, normalised and in channels-last
format. The loader is the usual one: torchvision's ``RandomRotation`` on PIL images in a ``DataLoader`` with two
persistent worker processes, for the same steps. All run in turn, one epoch per round; a cell is the median of the
ratios of the rounds, with the lowest and the highest.
"""

import argparse
import statistics
from collections.abc import Callable, Iterable
from functools import cache

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from workload import Workload, ratio, rounds, table_head

from pytorch.datasets.dataset import Split
from pytorch.datasets.normalization import Normalization
from pytorch.experiments.evaluation import model_inputs, random_degrees
from pytorch.experiments.recipes import recipe_for
from pytorch.experiments.training import Training
from pytorch.models import MODELS
from pytorch.names import PRECISIONS
from pytorch.scripts.allocation import keep_freed_memory
from pytorch.torchvision_import import import_torchvision
from pytorch.variance.precision import autocast


def main(arguments: list[str] | None = None) -> None:
    """Time each model and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["simple_conv", "resnet"])
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after one warm-up round")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, {options.samples} samples, "
          f"{options.precision}, {options.rounds} rounds")  # fmt: skip
    columns = ["model", "images/s", "upright / floor", "rotated / floor", "loader / rotated"]
    print(table_head(columns))
    for name in tqdm(options.models, leave=False, disable=None):
        print(f"| {' | '.join(row(name, options))} |", flush=True)


def row(name: str, options: argparse.Namespace) -> list[str]:
    """Time one model."""
    device = torch.device(options.device)
    recipe = recipe_for(name, "mnist")
    recipe = recipe.with_options(options.rounds + 1, options.rounds + 1, None)
    work = Workload.build(name, options.samples, recipe.batch_size, device=options.device)
    split = Split(work.images, work.labels)

    def training(rotated: bool) -> Training:
        model = Workload.build(name, 1, 1, device=options.device).model
        return Training(model, split, work.normalization, recipe, rotated=rotated, seed=0, device=device,
                        precision=options.precision)  # fmt: skip

    degrees = random_degrees(len(split), torch.Generator().manual_seed(0)).to(device)
    prepared = [
        (model_inputs(images, turns, work.normalization), labels)
        for images, turns, labels in zip(
            *(tensor.split(recipe.batch_size) for tensor in (work.images, degrees, work.labels)), strict=True
        )
    ]
    loader = pil_loader(split, work.normalization, recipe.batch_size)
    upright, rotated = training(rotated=False), training(rotated=True)
    seconds = rounds(
        {
            "floor": bare_steps(training(rotated=True), prepared, options.precision, device),
            "upright": upright.run_epoch,
            "rotated": rotated.run_epoch,
            "loader": bare_steps(training(rotated=True), loader, options.precision, device),
        },
        options.rounds,
        options.device,
    )
    per_second = options.samples / statistics.median(seconds["rotated"])
    pairs = (("upright", "floor"), ("rotated", "floor"), ("loader", "rotated"))
    return [name, f"{per_second:.0f}", *(ratio(seconds, *pair) for pair in pairs)]


def bare_steps(
    training: Training, batches: Iterable[tuple[Tensor, Tensor]], precision: str, device: torch.device
) -> Callable[[], None]:
    """Return a function that makes one step per batch, with the model and the optimiser of a training."""
    model, recipe = training.model, training.recipe
    optimizer = recipe.optimizer_for(model)

    def run() -> None:
        model.train()
        for inputs, labels in batches:
            inputs, labels = (tensor.to(device, non_blocking=True) for tensor in (inputs, labels))
            with autocast(precision, device):
                log_probabilities = model(inputs)
            loss = recipe.loss(log_probabilities, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def pil_loader(split: Split, normalization: Normalization, batch_size: int) -> DataLoader:
    """Build the data loader of most training scripts: PIL images, rotated one by one in two worker processes."""
    samples = Rotated(split, normalization)
    return DataLoader(samples, batch_size, shuffle=True, num_workers=2, collate_fn=collate, persistent_workers=True)


class Rotated(Dataset):
    """PIL images of a split, each rotated when it is accessed."""

    def __init__(self, split: Split, normalization: Normalization) -> None:
        functional = import_torchvision().transforms.functional
        self._pictures = [functional.to_pil_image(image) for image in split.images.cpu()]
        self._labels = split.labels.tolist()
        self._normalization = normalization

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a rotated image, (C, H, W), and its label."""
        rotation, to_tensor = pil_rotation()
        return self._normalization(to_tensor(rotation(self._pictures[index]))), self._labels[index]


@cache
def pil_rotation() -> tuple[Callable[[Image], Image], Callable[[Image], Tensor]]:
    """A random rotation and a conversion to a tensor; each worker creates its own, however it was started."""
    transforms = import_torchvision().transforms
    return transforms.RandomRotation(180, transforms.InterpolationMode.BILINEAR), transforms.functional.pil_to_tensor


def collate(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Combine samples into a batch, channels last."""
    images, found = zip(*samples, strict=True)
    return torch.stack(images).contiguous(memory_format=torch.channels_last), torch.tensor(found)


if __name__ == "__main__":
    main()
