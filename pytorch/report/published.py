"""The values published in 2019, to lay beside our own; what they are is in ``published/README.md``."""

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
"""By what name the network of 2019 that comes nearest to one of ours was published."""

DATASETS, AGGREGATIONS = ("mnist", "cifar10"), ("mean", "max")
"""What was published of; NV of the sum is that of the mean."""

COPIES = {"folder-cifar10-jpeg": "cifar10"}
"""Names by which folders are taken for the images of a published data set in another form."""

NOTE = (
    "2019: published by Quiroga et al. (2019), a guide to sign and order of magnitude and no target: MNIST images were "
    "28 × 28, the network beside vgg16 is another VGG, of 8 convolutions, and the sampling had faults."
)
RESNET_50_NOTE = "Beside resnet (ResNet-18) on cifar10 stand the 2019 values of ResNet-50."
COPY_NOTE = "folder-cifar10-jpeg is, by its name, a copy of CIFAR-10 that was compressed with losses, as JPEG."


def published_network(model: str, dataset: str) -> str | None:
    """Find the network of 2019 to compare a model with.

    >>> published_network("resnet50", "cifar10"), published_network("resnet50", "mnist")
    ('ResNet', None)
    """
    if (model, dataset) == ("resnet50", "cifar10"):
        return NETWORKS["resnet"]
    return NETWORKS.get(model)


def published_dataset(dataset: str) -> str:
    """By what name a data set was published; a copy of one by that of its original."""
    return COPIES.get(dataset, dataset)


def notes(shown: Collection[tuple[str, str]]) -> list[str]:
    """Return what must be said where values of 2019 stand beside these models and data sets."""
    resnet_50 = any(model == "resnet" and published_dataset(dataset) == "cifar10" for model, dataset in shown)
    copy = any(dataset in COPIES for _, dataset in shown)
    return [NOTE, *([RESNET_50_NOTE] if resnet_50 else []), *([COPY_NOTE] if copy else [])]


def published_accuracy(model: str, dataset: str, trained_on: str, data: str) -> float | None:
    """Look up the accuracy, as a fraction, on ``upright`` or ``rotated`` test data; None: not published."""
    tested_on = "unrotated" if data == "upright" else data
    dataset = published_dataset(dataset)
    key = published_network(model, dataset), dataset, trained_on, tested_on
    return _values("test_accuracy_2019.csv").get(key)


def published_global_mean(
    model: str, dataset: str, transformation: str, aggregation: str, trained_on: str, group: str
) -> float | None:
    """Look up the global mean of NV of the group ``all`` or ``stratified``; None: not published."""
    if transformation != "rotation":
        return None
    measure = "plain" if group == ALL else group
    dataset = published_dataset(dataset)
    key = published_network(model, dataset), dataset, trained_on, aggregation, measure
    return _values("global_normalized_variance_2019.csv").get(key)


@cache
def _values(name: str) -> Mapping[tuple[str | None, ...], float]:
    """Read a file: the last column by all the others."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {tuple(key): float(value) for *key, value in rows}
