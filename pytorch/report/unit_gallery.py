"""Figures of the units themselves, which need the trained models and the images that they were measured on."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure

from pytorch.datasets import load_dataset
from pytorch.errors import FileError
from pytorch.experiments.storage import load_model
from pytorch.experiments.trained_model import check_pair
from pytorch.experiments.unit_examples import extreme_units, find_layer, unit_examples
from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures import units_figure
from pytorch.report.findings import Findings
from pytorch.report.gallery import Plot, file_label, place, subject
from pytorch.transformations import transformation_set

SMOOTH = 36
"""Rotations of a curve over the whole turn."""

UNITS_SHOWN = 3
"""Shown of the most and of the least invariant ones."""


def plan_units(
    found: Findings, layers: Sequence[str], data_dir: Path | None, device: torch.device, batch_size: int
) -> list[Plot]:
    """List a figure for each of some layers and each measurement that has it and aggregates.

    Args:
        found: What was measured, and the models.
        layers: Their names.
        data_dir: Where downloads are kept.
        device: Where to compute.
        batch_size: Images at once.

    Raises:
        InputError: No measurement has such a layer.
    """
    pairs = [each for each in found.measured if each.pair.control is None and each.pair.aggregation != "none"]
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
    """Find what drives the units, and draw it.

    Raises:
        FileError: The models are not those that were measured, or not there.
        InputError: The data set is another one.
    """
    trained = found.trained.get((pair.model, pair.dataset))
    if trained is None or found.outdated(pair):
        state = "not there" if trained is None else "others than those that were measured"
        raise FileError(f"units of {pair.model} on {pair.dataset} cannot be shown: its models are {state}")
    models = {name: load_model(trained.folder / f"{name}.pt") for name in pair.results}
    dataset = load_dataset(pair.source, data_dir)
    check_pair(models, dataset)
    turning = pair.transformation in ("rotation", "rotation-disc")
    steps = SMOOTH if turning else len(pair.any_result.transformations)
    transformations = transformation_set(pair.transformation, steps)
    images = dataset.test.images
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
    return units_figure(pair, layer, examples, chosen, images, degrees, dataset.test.labels)
