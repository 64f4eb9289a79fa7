"""The single pass: N·T forward passes give TV, SV and NV of every unit, for every class, stratified and all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pytorch.errors import InputError
from pytorch.evaluation_mode import evaluation_mode
from pytorch.variance.accumulator import VarianceAccumulator
from pytorch.variance.activations import ActivationRecorder, Layer
from pytorch.variance.batches import UNLABELLED, Batches, checked_labels, images_and_labels, in_batches
from pytorch.variance.memory import check_memory
from pytorch.variance.moments import DISPERSIONS
from pytorch.variance.result import VarianceResult, check_class_names

Transformation = Callable[[Tensor], Tensor]


def measure_variance(
    model: nn.Module,
    images: Tensor | Batches,
    labels: Tensor | None = None,
    transformations: Sequence[Transformation] = (),
    preprocess: Callable[[Tensor], Tensor] | None = None,
    aggregation: str = "mean",
    batch_size: int = 256,
    device: torch.device | str | None = None,
    *,
    classes: Sequence[str] | None = None,
    dispersion: str = "std",
    progress: str | None = None,
) -> VarianceResult:
    """Measure how much every activation of a network varies with transformations and with samples.

    For a unit with activations a(x, t), with the dispersion a standard deviation (ddof = 1):

        TV = mean over x of dispersion over t        SV = mean over t of dispersion over x        NV = TV / SV

    The model's mode, hooks, parameters and device are left as they were found.

    Args:
        model: Any module; see ``pytorch.variance.activations`` for what counts as a layer.
        images: (N, C, H, W), uint8 or floating point, or an iterable of (images, labels) batches.
        labels: (N,) integers, or None; must be None where ``images`` is an iterable, whose batches bring their own.
            Samples without a label count in the group ``"all"`` alone.
        transformations: At least two callables on a batch (B, C, H, W).
        preprocess: Applied to each transformed batch before the model (normalisation).
        aggregation: How a feature map becomes a unit: ``"mean"``, ``"max"``, ``"sum"`` or ``"none"``.
        batch_size: Samples per forward pass; batches of an iterable are taken as they come.
        device: Where to compute; None: where the model is.
        classes: Names of the labels 0, 1, ...; None: the labels that occur, in increasing order, name themselves.
        dispersion: ``"std"``, or ``"variance"``.
        progress: What to call the work on a progress bar; None: no bar.

    Returns:
        The result; its arrays are float64.

    Raises:
        InputError: An argument that cannot be used; the message says which and why.

    Source:
        Quiroga et al. (2019), Measuring (in)variances in Convolutional Networks,
        doi 10.1007/978-3-030-27713-0_9.
    """
    return measure_variances(
        [model], images, labels, transformations, preprocess, aggregation, batch_size, device,
        classes=classes, dispersion=dispersion, progress=progress,
    )[0]  # fmt: skip


def measure_variances(
    models: Sequence[nn.Module],
    images: Tensor | Batches,
    labels: Tensor | None,
    transformations: Sequence[Transformation],
    preprocess: Callable[[Tensor], Tensor] | None = None,
    aggregation: str = "mean",
    batch_size: int = 256,
    device: torch.device | str | None = None,
    *,
    classes: Sequence[str] | None = None,
    dispersion: str = "std",
    progress: str | None = None,
) -> list[VarianceResult]:
    """Measure several models on the same transformed batches; arguments as ``measure_variance``, a result for each."""
    transformations = list(transformations)
    _check_arguments(transformations, batch_size, dispersion)
    classes = None if classes is None else list(classes)
    check_class_names(classes or [])
    batches, total = in_batches(images, labels, batch_size)
    with ExitStack() as stack:
        for model in models:
            if device is not None:
                stack.enter_context(_on_device(model, torch.device(device)))
            stack.enter_context(evaluation_mode(model))
        # Not inference_mode: a tensor that a model keeps from it (a cache) could not be trained with afterwards.
        stack.enter_context(torch.no_grad())
        recorders = [stack.enter_context(ActivationRecorder(model, aggregation)) for model in models]
        bar = stack.enter_context(tqdm(desc=progress, total=total, unit=" images", disable=progress is None or None))
        accumulators = _single_pass(
            recorders,
            batches,
            transformations,
            preprocess,
            _device_of(models[0]),
            None if classes is None else len(classes),
            dispersion,
            bar,
        )
    return [
        _result(
            accumulator,
            recorder.layers,
            classes,
            transformations=[str(transformation) for transformation in transformations],
            aggregation=aggregation,
            dispersion=dispersion,
        )
        for accumulator, recorder in zip(accumulators, recorders, strict=True)
    ]


def _single_pass(
    recorders: list[ActivationRecorder],
    batches: Batches,
    transformations: Sequence[Transformation],
    preprocess: Callable[[Tensor], Tensor] | None,
    device: torch.device,
    class_count: int | None,
    dispersion: str,
    bar: tqdm,
) -> list[VarianceAccumulator]:
    """Run every batch under every transformation through every model."""
    accumulators: list[VarianceAccumulator] = []
    samples = 0
    for batch in batches:
        images, labels = images_and_labels(batch)
        if len(images) == 0:
            continue
        labels = checked_labels(labels, len(images), class_count)
        images = images.to(device)
        for step, transformation in enumerate(transformations):
            inputs = transformation(images)
            inputs = inputs if preprocess is None else preprocess(inputs)
            # A model may change its input in place, which is another model's input too, or the caller's.
            rows = [recorder(inputs.clone()) for recorder in recorders]
            if not accumulators:
                units, known = [row.shape[1] for row in rows], class_count or len(labels.unique())
                check_memory(units, len(transformations), known, len(images), device)
                accumulators = [
                    VarianceAccumulator(len(transformations), count, dispersion, range(class_count or 0), device)
                    for count in units
                ]
            for accumulator, row in zip(accumulators, rows, strict=True):
                if step == 0:
                    accumulator.begin(labels)
                accumulator.add(row)
        for accumulator in accumulators:
            accumulator.end()
        samples += len(images)
        bar.update(len(images))
    if samples < 2:
        raise InputError(f"{samples} samples: at least two are needed, the sample variance of fewer is undefined")
    return accumulators


def _result(
    accumulator: VarianceAccumulator, layers: list[Layer], classes: Sequence[str] | None, **description: Any
) -> VarianceResult:
    """Put the classes in the order of their labels and name them."""
    labels = sorted(label for label in accumulator.labels if label != UNLABELLED)
    rows = [accumulator.labels.index(label) for label in labels]
    counts = accumulator.counts.cpu().numpy().astype(np.int64)
    tv_all, tv_classes = accumulator.transformation_variance()
    sv_all, sv_classes = accumulator.sample_variance()
    return VarianceResult(
        layer_names=[layer.name for layer in layers],
        layer_shapes=[layer.shape for layer in layers],
        classes=[str(label) if classes is None else classes[label] for label in labels],
        class_counts=counts[rows],
        samples=int(counts.sum()),
        tv_all=tv_all,
        sv_all=sv_all,
        tv_classes=tv_classes[rows],
        sv_classes=sv_classes[rows],
        **description,
    )


def _check_arguments(transformations: Sequence[Transformation], batch_size: int, dispersion: str) -> None:
    if len(transformations) < 2:
        raise InputError(
            f"{len(transformations)} transformations: at least two are needed, "
            "the transformation variance of fewer is undefined"
        )
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: it must be at least 1")
    if dispersion not in DISPERSIONS:
        raise InputError(f"unknown dispersion {dispersion!r}: choose one of {', '.join(DISPERSIONS)}")


def _device_of(model: nn.Module) -> torch.device:
    return next((tensor.device for tensor in chain(model.parameters(), model.buffers())), torch.device("cpu"))


@contextmanager
def _on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Move the model to ``device``, and back afterwards."""
    home = _device_of(model)
    model.to(device)
    try:
        yield
    finally:
        model.to(home)
