"""The values published in 2019, for comparison; ``published/README.md`` describes them."""

import csv
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from pytorch.variance.result import ALL

FOLDER = Path(__file__).parent / "published"

NETWORKS = {
    "simple_conv": "SimpleConv",
    "all_convolutional": "AllConvolutional",
    "vgg16": "VGGLike",
    "resnet": "ResNet",
}
"""For each of our networks, the closest one of 2019 by its published name."""

DATASETS, AGGREGATIONS = ("mnist", "cifar10"), ("mean", "max")
"""Published data sets and aggregations; NV under ``sum`` equals NV under ``mean``."""

COPIES = {"folder-cifar10-jpeg": "cifar10"}
"""Folder data sets that are copies of a published data set, by name."""

NOTE = (
    "2019: values of Quiroga et al. (2019), a guide to sign and order of magnitude, not a target. Their MNIST images "
    "were 28 × 28, their VGG had 8 convolutions, and their sampling had faults."
)
RESNET_50_NOTE = "For resnet (ResNet-18) on cifar10, the 2019 values are those of ResNet-50."
COPY_NOTE = "Judging by its name, folder-cifar10-jpeg is a copy of CIFAR-10 with lossy JPEG compression."


def published_network(model: str, dataset: str) -> str | None:
    """Return the network of 2019 to compare a model with; None: there is none.

    >>> published_network("resnet50", "cifar10"), published_network("resnet50", "mnist")
    ('ResNet', None)
    """
    if (model, dataset) == ("resnet50", "cifar10"):
        return NETWORKS["resnet"]
    return NETWORKS.get(model)


def published_dataset(dataset: str) -> str:
    """Return the published name of a data set: for a copy, that of the original."""
    return COPIES.get(dataset, dataset)


def notes(shown: Collection[tuple[str, str]]) -> list[str]:
    """Return the caveats for values of 2019 shown with these (model, data set) pairs."""
    resnet_50 = any(model == "resnet" and published_dataset(dataset) == "cifar10" for model, dataset in shown)
    copy = any(dataset in COPIES for _, dataset in shown)
    return [NOTE, *([RESNET_50_NOTE] if resnet_50 else []), *([COPY_NOTE] if copy else [])]


def published_accuracy(model: str, dataset: str, trained_on: str, data: str) -> float | None:
    """Look up the accuracy in [0, 1] on ``upright`` or ``rotated`` test data; None: not published."""
    tested_on = "unrotated" if data == "upright" else data
    dataset = published_dataset(dataset)
    key = published_network(model, dataset), dataset, trained_on, tested_on
    return _values("test_accuracy_2019.csv").get(key)


def published_global_mean(
    model: str, dataset: str, transformation: str, aggregation: str, trained_on: str, group: str
) -> float | None:
    """Look up the global mean of NV for the group ``all`` or ``stratified``; None: not published."""
    if transformation != "rotation":
        return None
    measure = "plain" if group == ALL else group
    dataset = published_dataset(dataset)
    key = published_network(model, dataset), dataset, trained_on, aggregation, measure
    return _values("global_normalized_variance_2019.csv").get(key)


@cache
def _values(name: str) -> Mapping[tuple[str | None, ...], float]:
    """Read a file: the last column, keyed by the others."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {tuple(key): float(value) for *key, value in rows}
