"""The single pass: each batch, under each transformation, goes through each model once."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from pytorch.errors import InputError, ReportedError, one_line
from pytorch.variance.batches import Batch, Samples
from pytorch.variance.fast.replay import Replay
from pytorch.variance.first_batch import CheckedRecorder
from pytorch.variance.memory import check_memory
from pytorch.variance.precision import autocast
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.stopping import Stopping
from pytorch.variance.transforming import Transformation, TransformationCheck, advice, check_finite, transformed

FEWEST_TO_SHUFFLE = 16
"""Smallest batch to shuffle: in a smaller one, too many samples keep their place."""


MODEL_ERRORS = (RuntimeError, TypeError, ValueError, AssertionError, LookupError)
"""Errors of models that cannot take a batch."""


class TooLargeTogetherError(Exception):
    """The statistics of all models together take too much memory; the models must be measured one after another."""


@dataclass(frozen=True)
class PassOptions:
    """Options of the pass; see ``measure_variance``.

    Attributes:
        kept: Labels of the classes with statistics of their own; None: all.
        memory: Bytes that each of several ranks may use; None: there is one, which may use those of the device.
        tells: Whether this process writes notes to stderr, of those that share a measurement.
    """

    transformations: Sequence[Transformation]
    preprocess: Callable[[Tensor], Tensor] | None
    dispersion: str
    class_count: int | None
    kept: list[int] | None
    precision: str
    tolerance: float | None
    shuffled: bool
    seed: int
    replay: bool
    check: bool
    memory: float | None
    tells: bool


def single_pass(
    recorders: list[ActivationRecorder],
    samples: Samples,
    options: PassOptions,
    device: torch.device,
    bar: tqdm,
    stopping: Callable[[], Stopping],
) -> list[VarianceAccumulator]:
    """Run the pass and return the accumulated sums of each model; none if there are no samples.

    The caller enters the ``autocast`` of the options, and makes a CUDA ``device`` the current one. ``stopping`` makes
    what watches a model if there is a tolerance.

    Raises:
        InputError: There is too little memory.
        TooLargeTogetherError: The models must be measured one after another.
    """
    accumulators: list[VarianceAccumulator] = []
    watchers: list[Stopping] = []
    turned_back = [recorder.maps for recorder in recorders if recorder.maps is not None]
    generator = torch.Generator().manual_seed(options.seed)
    precisely = _precisely(options.precision, device)
    calls: list[Callable[[Tensor], Tensor]] = [CheckedRecorder(recorder, check=options.check) for recorder in recorders]
    if options.replay and device.type == "cuda":
        calls = [Replay(recorder, call) for recorder, call in zip(recorders, calls, strict=True)]
    check: TransformationCheck | None = None
    first = 0
    for batch in samples.batches:
        first = first or len(batch.images)
        if options.shuffled and accumulators and first < FEWEST_TO_SHUFFLE:
            raise InputError(f"batches of {first} samples are too small to shuffle: at least {FEWEST_TO_SHUFFLE} "
                             "are needed; set a larger batch_size (batches have nearly equal sizes)")  # fmt: skip
        images = batch.images.to(device, non_blocking=True)
        if not accumulators and options.check and not options.shuffled:
            check = TransformationCheck(images)
        sums = []
        for step, transformation in enumerate(options.transformations):
            seen = _shuffle(images, generator) if options.shuffled else images
            with precisely():
                inputs = transformed(seen, transformation, options.preprocess, check)
                if inputs.is_floating_point():
                    sums.append(inputs.sum(dtype=max(inputs.dtype, torch.float32, key=lambda kind: kind.itemsize)))
            for maps in turned_back:
                maps.begin(step, inputs)
            rows = _rows(calls, inputs)
            with precisely():
                if not accumulators:
                    accumulators = _accumulators(recorders, rows, batch, options, device, samples)
                    if options.tolerance is not None:
                        watchers = [stopping() for _ in accumulators]
                for accumulator, row in zip(accumulators, rows, strict=True):
                    if step == 0:
                        accumulator.begin(batch.labels)
                    accumulator.add(row)
                for maps in turned_back:
                    maps.add(batch.labels)
        with precisely():
            check_finite(sums, images, options.transformations, options.preprocess)
            if check is not None:
                check.finish()
                check = None
            for accumulator in accumulators:
                accumulator.end()
            for maps in turned_back:
                maps.end()
            bar.update(len(images))
            if watchers:
                pairs = zip(watchers, accumulators, strict=True)
                half_width = max(watcher.half_width(accumulator) for watcher, accumulator in pairs)
                bar.set_postfix_str(f"layer means ± {half_width:.4f}")
                if half_width <= options.tolerance:
                    break
    return accumulators


def _precisely(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """Return a factory of contexts for work outside the network; it does nothing where the pass is fp32."""
    return nullcontext if precision == "fp32" else partial(autocast, "fp32", device)


def _rows(calls: list[Callable[[Tensor], Tensor]], inputs: Tensor) -> list[Tensor]:
    """Activations of each model for a batch, (B, U)."""
    try:
        return [call(inputs) for call in calls]
    except MODEL_ERRORS as error:
        if isinstance(error, (ReportedError, torch.OutOfMemoryError)) or "out of memory" in str(error):
            raise
        kind = f"a batch of shape {tuple(inputs.shape)}"
        if not inputs.is_floating_point():
            kind = f"images of type {inputs.dtype}: a transformation or preprocess must make them floating point"
        reason = f"{type(error).__name__}: {one_line(error, longest=300)}"
        raise InputError(f"the model cannot take {kind} ({reason}){advice(inputs)}") from error


def _shuffle(images: Tensor, generator: torch.Generator) -> Tensor:
    """Permute the samples of a batch."""
    return images[torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)]


def _accumulators(
    recorders: list[ActivationRecorder],
    rows: list[Tensor],
    batch: Batch,
    options: PassOptions,
    device: torch.device,
    samples: Samples,
) -> list[VarianceAccumulator]:
    steps, size = len(options.transformations), samples.batch or len(batch.labels)
    named = range(options.class_count or 0) if options.kept is None else options.kept
    labels = sorted({*named, *(samples.labels or [])})
    known = len(labels) or len(batch.labels.unique())
    copies = 1 if options.memory is None else 2  # rank 0 holds its own sums, and those of all
    beside = [
        recorder.maps.settle(recorder.layers, labels, known) for recorder in recorders if recorder.maps is not None
    ]
    units = [row.shape[1] for row in rows]
    fits = check_memory(units, steps, known, size, device, options.memory, copies, beside, options.tells)
    if not fits and len(recorders) > 1 and samples.total is not None:  # else, they can be gone through once
        raise TooLargeTogetherError
    return [
        VarianceAccumulator(
            steps,
            [layer.units for layer in recorder.layers],
            options.dispersion,
            labels,
            device,
            list(recorder.columns().values()),
            size,
            known,
        )
        for recorder in recorders
    ]
