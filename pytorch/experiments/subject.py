"""What a measurement is about: a trained pair or another network, and the samples."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pytorch.datasets import DATASETS, dataset_name, load_dataset
from pytorch.datasets.dataset import SIZE, Dataset
from pytorch.datasets.image_batches import folder_batches
from pytorch.datasets.network_input import NetworkInput
from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError
from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.protocol import Setting
from pytorch.experiments.trained_model import TrainedModel, check_pair, weights_digest
from pytorch.experiments.vocabulary import RANDOM_WEIGHTS, TRAINED, UNROTATED, UNTRAINED
from pytorch.models.libraries import InputSettings, build_network, can_be_pretrained, file_name
from pytorch.models.weights_file import load_weights


@dataclass(frozen=True)
class Subject:
    """Networks and samples to measure, with the origin of both.

    Attributes:
        model: Name in files and figures.
        dataset: Name of the data in files and figures.
        networks: Networks by name, as in ``VariancePair.results``.
        images: (N, C, H, W) uint8, or batches of (images, labels).
        labels: (N,) int64; None: those of the batches.
        samples: Number of samples, N.
        classes: Names of the classes; None: there are none.
        preprocess: Function from transformed images to the input of the networks.
        training: How each network was made; see ``VariancePair``.
        accuracy: As in ``VariancePair``.
        angle_curves: As in ``VariancePair``.
    """

    model: str
    dataset: str
    networks: dict[str, nn.Module]
    images: Tensor | Iterable
    labels: Tensor | None
    samples: int
    classes: list[str] | None
    preprocess: Callable[[Tensor], Tensor]
    training: dict[str, dict[str, Setting]]
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    angle_curves: dict[str, AngleCurve] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, str]:
        """Digest of the weights of each network."""
        return {name: weights_digest(network.state_dict()) for name, network in self.networks.items()}


def pair_subject(models: dict[str, TrainedModel], dataset: Dataset, control: str | None) -> Subject:
    """Return a trained pair on its test images, or the network before training for the control of this name.

    Raises:
        InputError: The models are not a pair, or were trained on other data.
    """
    check_pair(models, dataset)
    first = models[UNROTATED]
    shared = {
        "model": first.model, "dataset": dataset.name, "images": dataset.test.images, "labels": dataset.test.labels,
        "samples": len(dataset.test), "classes": dataset.classes, "preprocess": first.normalization,
    }  # fmt: skip
    if control == RANDOM_WEIGHTS:
        before = {UNTRAINED: (first.protocol | {"epochs": 0}).settings}
        return Subject(**shared, networks={UNTRAINED: first.network(trained=False)}, training=before)
    return Subject(
        **shared,
        networks={name: trained.network() for name, trained in models.items()},
        training={name: trained.protocol.settings for name, trained in models.items()},
        accuracy={name: trained.accuracy for name, trained in models.items()},
        angle_curves={name: trained.angle_curve for name, trained in models.items() if trained.angle_curve},
    )


def network_subject(
    name: str,
    data: str,
    *,
    label: str | None = None,
    weights: Path | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    data_dir: Path | None = None,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Subject:
    """Return a network from elsewhere on images, beside the same network with random weights.

    Args:
        name: Name of the network, as for ``pytorch.models.libraries.build_network``.
        data: Name of a data set, whose test images are used, or a folder of images.
        label: Name in files and figures; None: made from ``name``.
        weights: File of weights.
        pretrained: Whether to use the weights that the library has.
        image_size: Height and width of the input; None: as the network's configuration says.
        mean: Normalisation; None: as the network's configuration says.
        std: Normalisation, likewise.
        data_dir: Folder of downloads.
        samples: Maximum number of samples.
        seed: Random seed for random weights and for the choice and order of samples.
        batch_size: Images per batch of a folder.

    Raises:
        InputError: The network, its weights or its images cannot be used; the message says what to do.
    """
    notes: list[str] = []
    networks, made, said = _states(name, weights, pretrained, seed, notes)
    is_folder = dataset_name(data) not in DATASETS
    size, normalization = _input(name, said, is_folder, image_size, mean, std, notes)
    if is_folder:
        batches = folder_batches(Path(data), size, batch_size, samples, seed)
        images, labels, count = batches, None, batches.samples
        classes, fingerprint = batches.classes or None, batches.fingerprint
    else:
        dataset = load_dataset(data, data_dir, samples, seed)
        images, labels, count = dataset.test.images, dataset.test.labels, len(dataset.test)
        classes, fingerprint = dataset.classes, dataset.source.fingerprint
    for note in notes:
        print(note, file=sys.stderr)
    shared = {
        "network": name, "image size": size, "mean": _text(normalization.mean), "std": _text(normalization.std),
        "fingerprint of the data": fingerprint,
    }  # fmt: skip
    return Subject(
        model=label or file_name(name),
        dataset=dataset_name(data),
        networks=networks,
        images=images,
        labels=labels,
        samples=count,
        classes=classes,
        preprocess=NetworkInput(size, normalization),
        training={state: shared | {"weights": origin} for state, origin in made.items()},
    )


def _states(
    name: str, weights: Path | None, pretrained: bool, seed: int, notes: list[str]
) -> tuple[dict[str, nn.Module], dict[str, str], InputSettings]:
    """Build a network with random weights and with its own; return both, their origins, and the input they take."""
    network, said = build_network(name, seed)
    networks, origins = {UNTRAINED: network}, {UNTRAINED: f"random, seed {seed}"}
    spare = None
    if not can_be_pretrained(name):  # a function in a file may load weights; then the seed does not matter
        spare, _ = build_network(name, seed + 1)
        if _shares_weights(network, spare):
            networks, origins = {}, {}
            notes.append(f"{name} loads weights, or does not draw them at random, so there is no control: "
                         + ("--weights replaces them" if weights else "it is measured as it is"))  # fmt: skip
    if pretrained:
        networks[TRAINED], said = build_network(name, seed, pretrained=True)
        origins[TRAINED] = "pretrained"
    elif weights is not None:
        networks[TRAINED] = spare or build_network(name, seed)[0]
        load_weights(networks[TRAINED], weights)
        origins[TRAINED] = f"file {weights.name}"
    elif not networks:
        networks[TRAINED], origins[TRAINED] = network, "as the function returns them"
    else:
        how = "--weights or --pretrained" if can_be_pretrained(name) else "--weights"
        notes.append(f"{name} is measured with random weights alone, since they depend on the seed: give {how} for "
                     "trained ones")  # fmt: skip
    for each in networks.values():
        if all(values.ndim <= 4 for values in each.parameters()):  # others have no such format
            each.to(memory_format=torch.channels_last)
    return networks, origins, said


def _shares_weights(network: nn.Module, other: nn.Module) -> bool:
    """Whether two networks of different seeds have a parameter in common, apart from constant ones such as zeros."""
    pairs = [*zip(network.parameters(), other.parameters(), strict=True)]
    varied = [(one, two) for one, two in pairs if one.numel() > 1 and (one != one.flatten()[0]).any()]
    return not varied or any(torch.equal(one, two) for one, two in varied)


def _input(
    name: str,
    said: InputSettings,
    is_folder: bool,
    image_size: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    notes: list[str],
) -> tuple[int, Normalization]:
    """Settle size and normalisation: as asked for, else as the network's configuration says."""
    size = image_size or said.size or (None if is_folder else SIZE)
    if size is None:
        raise InputError(f"{name} does not say how large its input is: give --image-size")
    if mean is None:
        mean, std = said.mean, said.std
    if mean is None or std is None:
        notes.append(f"{name} does not say how its input is normalised: it gets pixels / 255; see --mean and --std "
                     "(three numbers each give grey images three channels)")  # fmt: skip
        mean, std = (0.0,), (1.0,)
    notes.append(f"input: {size} × {size} pixels / 255, mean {_text(mean)}, std {_text(std)}")
    return size, Normalization(mean, std)


def _text(constants: tuple[float, ...]) -> str:
    return ", ".join(f"{constant:g}" for constant in constants)
