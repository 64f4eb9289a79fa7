"""List figures of single units, which need the trained models and the measured images."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure

from pytorch.datasets import load_dataset
from pytorch.errors import FileError, InputError
from pytorch.experiments.storage import load_model
from pytorch.experiments.trained_model import check_pair
from pytorch.experiments.unit_examples import extreme_units, find_layer, unit_examples
from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures import units_figure
from pytorch.names import EQUIVARIANCE
from pytorch.report.findings import Findings
from pytorch.report.gallery import TURNS, Plot, file_label, place, subject
from pytorch.transformations import transformation_set

SMOOTH = 36
"""Number of rotations in the curve of a full turn."""

UNITS_SHOWN = 3
"""Number of most and of least invariant units in a figure."""


def plan_units(
    found: Findings, layers: Sequence[str], data_dir: Path | None, device: torch.device, batch_size: int
) -> list[Plot]:
    """List a figure for each given layer of each measured pair with aggregation.

    Args:
        found: Measurements and models.
        layers: Names of layers.
        data_dir: Folder of downloads.
        device: Device to compute on.
        batch_size: Images per batch.

    Raises:
        InputError: No pair has the layer.
    """
    pairs = [
        each for each in found.measured
        if each.pair.is_pair and each.pair.control is None and each.pair.aggregation not in ("none", EQUIVARIANCE)
    ]  # fmt: skip
    if not pairs:
        raise InputError("--units needs the measurement of a trained pair with aggregation, and there is none")
    known = list(dict.fromkeys(layer for each in pairs for layer in each.pair.any_result.layer_names))
    planned = []
    for layer in (find_layer(name, known) for name in layers):
        for measured in pairs:
            pair = measured.pair
            if layer in pair.any_result.layer_names:
                trained = found.trained.get((pair.model, pair.dataset))
                planned.append(
                    Plot(
                        name=place(pair, "units", file_label(layer)),
                        kind="units",
                        title=f"{pair.model} on {pair.dataset}: units of {layer}",
                        of={**subject(pair), "layer": layer},
                        sources=(measured.digest, *(trained.digests[:2] if trained else ())),
                        draw=partial(_draw, found, pair, layer, data_dir, device, batch_size),
                    )
                )
    return planned


def _draw(
    found: Findings, pair: VariancePair, layer: str, data_dir: Path | None, device: torch.device, batch_size: int
) -> Figure:
    """Find the images that activate the units most, and draw them.

    The images are those of the measurement; all test images if a tolerance ended it before the last.

    Raises:
        FileError: The models are missing, or are not the measured ones.
        InputError: The models were trained on another data set.
    """
    trained = found.trained.get((pair.model, pair.dataset))
    if trained is None or found.outdated(pair):
        state = "missing" if trained is None else "not the measured ones"
        raise FileError(f"units of {pair.model} on {pair.dataset} cannot be shown: its models are {state}")
    models = {name: load_model(trained.folder / f"{name}.pt") for name in pair.results}
    dataset = load_dataset(pair.source, data_dir)
    check_pair(models, dataset)
    turning = pair.transformation in TURNS
    steps = SMOOTH if turning else len(pair.any_result.transformations)
    transformations = transformation_set(pair.transformation, steps)
    result = pair.any_result
    measured = dataset.measured(result.class_counts, pair.seed) if result.tolerance is None else dataset.test
    images = measured.images
    chosen = {name: extreme_units(result, layer, UNITS_SHOWN) for name, result in pair.results.items()}
    examples = {
        name: unit_examples(
            models[name].network(),
            images,
            layer,
            [*most, *least],
            transformations,
            models[name].normalization,
            pair.aggregation,
            batch_size=batch_size,
            device=device,
            precision=pair.any_result.precision,
            upright=transformations[0] if pair.transformation == "rotation-disc" else None,
        )
        for name, (most, least) in chosen.items()
    }
    degrees = [360 * step / steps for step in range(steps)] if turning else None
    return units_figure(pair, layer, examples, chosen, images, degrees, measured.labels)
