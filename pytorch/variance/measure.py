"""The measure: N·T forward passes give TV, SV and NV of every unit, for every class, stratified and all."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pytorch.available_memory import available_memory
from pytorch.errors import InputError
from pytorch.names import POSITIONS, aggregation_names
from pytorch.progress_bar import progress_bar
from pytorch.variance.arguments import (
    check_measure,
    check_model,
    check_options,
    check_types,
    checked_classes,
    checked_shard,
    kept_labels,
)
from pytorch.variance.batches import Samples, Shard, in_batches
from pytorch.variance.equivariance.maps import TurnedBackMaps
from pytorch.variance.equivariance.outcome import whole_result
from pytorch.variance.first_batch import epsilon_of
from pytorch.variance.outcome import Setup, check_count
from pytorch.variance.partial_result import PartialResult, Sums, state_digest
from pytorch.variance.precision import autocast
from pytorch.variance.probe import probe
from pytorch.variance.ranks import Ranks, SharedStopping
from pytorch.variance.recording.layers import ChannelAxis, LayerChoice, named_modules
from pytorch.variance.recording.left_as_found import Keeper, left_as_found
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.result import VarianceResult
from pytorch.variance.single_pass import PassOptions, TooLargeTogetherError, single_pass
from pytorch.variance.stopping import Stopping
from pytorch.variance.transforming import Transformation

Images = Tensor | Iterable[Any]
Measured = VarianceResult | dict[str, Any] | PartialResult | None
Merge = Callable[[PartialResult], Measured]


def measure_variance(
    model: nn.Module,
    images: Images,
    labels: Tensor | None = None,
    transformations: Sequence[Transformation] = (),
    preprocess: Callable[[Tensor], Tensor] | None = None,
    aggregation: str | Sequence[str] = "mean",
    batch_size: int = 256,
    device: torch.device | str | None = None,
    *,
    layers: LayerChoice = None,
    channel_axis: ChannelAxis = None,
    classes: Sequence[str] | None = None,
    dispersion: str = "std",
    precision: str = "fp32",
    tolerance: float | None = None,
    shuffled: bool = False,
    seed: int = 0,
    replay: bool = True,
    check: bool = True,
    reset: Callable[[], Any] | None = None,
    progress: str | None = None,
    class_statistics: bool | Sequence[str] = True,
    shard: Shard | None = None,
    process_group: "dist.ProcessGroup | None" = None,
    measure: str = "invariance",
    positions: int | None = POSITIONS,
    by_class: bool = False,
) -> Measured:
    """Measure how much the activations of a network vary with transformations and with samples.

    For a unit with activation a(x, t), where the dispersion is the standard deviation (ddof = 1):

        TV = mean over x of dispersion over t        SV = mean over t of dispersion over x        NV = TV / SV

    The function leaves the modes, hooks, attributes, parameters, buffers and device of the model unchanged. A model in
    ``channels_last`` gets images in that format, which is faster on a CPU.

    Args:
        model: Network to measure, any module.
        images: Samples (N, C, H, W) or (N, ...) with any number of axes (signals, volumes, tokens), uint8 or floating
            point; or an iterable of batches. A batch is images, (images, labels), or a mapping with ``image``,
            ``images`` or ``pixel_values`` and ``label`` or ``labels``. A tensor is visited in random order, balanced
            by class; an iterable in its own order, which the error bars assume to be random. If it can be gone
            through again, its attribute ``samples`` may tell how many samples it has, less those that it then lists as
            ``unreadable``. A DataLoader tells by itself.
        labels: Class labels (N,), integers, or None. Must be None for an iterable, whose batches contain labels.
            Unlabelled samples count only in the group ``"all"``.
        transformations: At least two callables on a batch (B, C, H, W). Each must be deterministic.
        preprocess: Function applied to each transformed batch before the model, such as a normalisation.
        aggregation: How a feature map becomes a unit: ``"mean"``, ``"max"``, ``"sum"`` or ``"none"``. Several, such
            as ``"mean,max"`` or a sequence, take one pass.
        batch_size: Largest number of samples per forward pass; an iterable determines its own batches.
        device: Device to compute on; None: the device of the model.
        layers: Layers to record; None: every module that computes something. Names, a predicate or ``"operations"``:
            see ``pytorch.variance.recording.layers.LayerSelection``.
        channel_axis: Axis or axes of an activation (B, ...) that hold channels: a mapping from layer names, or a
            function of a name and a module. Other layers follow ``pytorch.variance.recording.channel_axes``.
        classes: Names of the classes 0, 1, ...; None: the labels that occur, in increasing order.
        dispersion: ``"std"`` or ``"variance"``.
        precision: ``"fp32"``: the model computes in the type of its parameters. ``"bf16"``: convolutions and matrix
            products use bfloat16 (``torch.autocast``). Statistics are float64 in both cases.
        tolerance: Half-width (95 %) at which to stop: every layer mean of NV, over all samples and stratified, is
            known to it (see ``pytorch.variance.stopping``). None: use all samples.
        shuffled: Whether to run a control: under each transformation, samples of a batch (of 16 or more) are permuted,
            regardless of class. NV then is near 1: 0.98 with 16 transformations and 0.92 with 4, because the standard
            deviation of few values is too small. It is larger where a transformation shifts all samples alike.
        seed: Random seed for the sample order and the shuffling.
        replay: Whether to replay the model as a CUDA graph after two calls with batches of one size, where results are
            the same (see ``pytorch.variance.fast.replay``). Its Python code does not run during a replay.
        check: Whether to check, on the first batch, that transformations are deterministic and that the activations
            of an image depend only on that image (see ``pytorch.variance.first_batch``); and whether shards can be
            compared by their images and transformations.
        reset: Function called before each forward pass, to clear the state of a recurrent or spiking network.
        progress: Label of the progress bar; None: no bar.
        class_statistics: Classes that get statistics of their own, by name; True: all; False: none. Other samples
            count only in the group ``"all"``. Memory is proportional to the number of these classes.
        shard: Number r of a shard and number W of shards: measure only the samples at places r, r + W, r + 2 W, ... of
            the random order. ``merge_results`` turns the partial results of all shards into the result. All shards
            need the same arguments. An iterable must shard itself (``pytorch.variance.batches.Shardable``), as the
            batches of a folder do; a DataLoader does not.
        process_group: Process group of ``torch.distributed``, all processes of which make this call, each with the
            same arguments but ``device`` and ``progress``. Each measures the shard of its rank.
        measure: ``"invariance"``; ``"equivariance"``: the same of feature maps that are turned back by the inverse
            transformation, see ``pytorch.variance.equivariance``; or ``"both"``, in the same pass.
        positions: Number of random positions of a feature map to turn back; None: all that every transformation keeps.
        by_class: Whether to measure the equivariance of each class, too, which multiplies its memory.

    Returns:
        The result, with float64 arrays. For several aggregations, a dict with one result for each. For equivariance, an
        ``EquivarianceResult``; for both, a dict with ``"invariance"`` and ``"equivariance"``. With ``shard``, a
        ``PartialResult``. With ``process_group``, the result on rank 0, and None on the others once it is complete.

    Raises:
        InputError: An argument is invalid; the message says which and why.
        RankError: Another process of ``process_group`` has stopped.

    Source:
        Quiroga et al. (2019), Measuring (in)variances in Convolutional Networks,
        doi 10.1007/978-3-030-27713-0_9.
    """
    return measure_variances(
        {"model": model}, images, labels, transformations, preprocess, aggregation, batch_size, device, layers=layers,
        channel_axis=channel_axis, classes=classes, dispersion=dispersion, precision=precision, tolerance=tolerance,
        shuffled=shuffled, seed=seed, replay=replay, check=check, reset=reset, progress=progress,
        class_statistics=class_statistics, shard=shard, process_group=process_group,
        measure=measure, positions=positions, by_class=by_class,
    )["model"]  # fmt: skip


def measure_variances(
    models: Mapping[str, nn.Module],
    images: Images,
    labels: Tensor | None = None,
    transformations: Sequence[Transformation] = (),
    preprocess: Callable[[Tensor], Tensor] | None = None,
    aggregation: str | Sequence[str] = "mean",
    batch_size: int = 256,
    device: torch.device | str | None = None,
    *,
    layers: LayerChoice = None,
    channel_axis: ChannelAxis = None,
    classes: Sequence[str] | None = None,
    dispersion: str = "std",
    precision: str = "fp32",
    tolerance: float | None = None,
    shuffled: bool = False,
    seed: int = 0,
    replay: bool = True,
    check: bool = True,
    reset: Callable[[], Any] | None = None,
    progress: str | None = None,
    class_statistics: bool | Sequence[str] = True,
    shard: Shard | None = None,
    process_group: "dist.ProcessGroup | None" = None,
    measure: str = "invariance",
    positions: int | None = POSITIONS,
    by_class: bool = False,
) -> dict[str, Measured]:
    """Measure several models on the same transformed batches.

    ``models`` maps names to networks; the other arguments and the errors are those of ``measure_variance``.

    If their statistics together would take half of the memory or more, the models are measured one after another. With
    a tolerance, each then stops on its own.

    Returns:
        What ``measure_variance`` returns, for each name.
    """
    if classes is not None:
        classes = checked_classes(classes, labels, images)
    if isinstance(layers, Iterator):  # every model reads the names
        layers = list(layers)
    check_types(models, images, labels, transformations, layers, channel_axis, reset)
    kept = kept_labels(class_statistics, classes)
    if process_group is not None:
        if shard is not None:
            raise InputError("shard= is for processes without a process group: give one of shard and process_group")
        shard = dist.get_rank(process_group), dist.get_world_size(process_group)
        if tolerance is not None and not isinstance(images, Tensor | np.ndarray):
            raise InputError("a tolerance across processes needs images as a tensor or an array: omit tolerance")
    elif shard is not None:
        shard = checked_shard(shard, tolerance)
    options = PassOptions(
        transformations=list(transformations),
        preprocess=preprocess,
        dispersion=dispersion,
        class_count=None if classes is None else len(classes),
        kept=kept,
        precision=precision,
        tolerance=tolerance,
        shuffled=shuffled,
        seed=seed,
        # A graph would turn the maps of every pass back by the same transformation.
        replay=replay and reset is None and measure == "invariance",
        check=check,
        memory=None,
        tells=shard is None or shard[0] == 0,
    )
    check_options(options, batch_size)
    check_measure(measure, positions, options)
    for model in models.values():
        check_model(model, device, precision)
    kinds = ["invariance", "equivariance"] if measure == "both" else [measure]
    names = aggregation_names(aggregation)
    single = isinstance(aggregation, str) and len(names) == 1

    def measured(
        some: Sequence[nn.Module], options: PassOptions, stopping: Callable[[Samples], Stopping], merge: Merge
    ) -> list[Measured]:
        samples = in_batches(images, labels, batch_size, options.class_count, seed, kept, shard)
        digests = [state_digest(model) for model in some] if shard else []
        keepers: list[Keeper] = []
        with ExitStack() as stack:
            stack.enter_context(closing(samples.batches))
            for model in some:
                stack.enter_context(on_device(model, device))
                keepers.append(stack.enter_context(left_as_found(model)))
            # Not inference_mode: a tensor that the model caches could not take part in training afterwards.
            stack.enter_context(torch.no_grad())
            place = device_of(some[0])
            seen = probe(samples.first() if shard and check else None, options, place)
            recorders = [
                stack.enter_context(ActivationRecorder(model, names, layers, channel_axis, reset, keeper.keep))
                for model, keeper in zip(some, keepers, strict=True)
            ]
            if measure != "invariance":
                for recorder in recorders:
                    recorder.maps = TurnedBackMaps(options.transformations, dispersion, positions, by_class, seed)
            bar = stack.enter_context(progress_bar(title=progress, total=samples.here, unit=" images"))
            # One context around the whole pass converts the weights once; transformations and statistics leave it.
            stack.enter_context(autocast(precision, place))
            if place.type == "cuda":
                stack.enter_context(torch.cuda.device(place))  # the current one, as kernels require
            accumulators = single_pass(recorders, samples, options, place, bar, lambda: stopping(samples))
            maps = [recorder.maps and recorder.maps.setup(epsilon_of(recorder.modules)) for recorder in recorders]
        if accumulators:
            for recorder in recorders:
                _tell_assumed(recorder)
        offered = None if samples.here is None else samples.here - len(getattr(images, "unreadable", ()))
        setups = [Setup.of(recorder, classes, options, offered) for recorder in recorders[: len(accumulators)]]
        sums = [
            {kind: recorder.maps.accumulator if kind == "equivariance" else accumulator for kind in kinds}
            for recorder, accumulator in zip(recorders, accumulators, strict=False)
        ]
        if shard:
            parts = [PartialResult(*shard, samples.digest, digest, seen, single) for digest in digests]
            if accumulators:
                states = ({kind: Sums.of(each) for kind, each in by_kind.items()} for by_kind in sums)
                parts = [
                    replace(part, setup=setup, maps=turned, sums=state)
                    for part, setup, turned, state in zip(parts, setups, maps, states, strict=True)
                ]
            return [*map(merge, parts)]
        if not accumulators:
            check_count(0)
        return [whole_result(*each, single=single) for each in zip(sums, setups, maps, strict=True)]

    def measure_all(*how: Any) -> dict[str, Measured]:
        with suppress(TooLargeTogetherError):
            return dict(zip(models, measured([*models.values()], *how), strict=True))
        return {name: measured([model], *how)[0] for name, model in models.items()}

    if process_group is None:
        return measure_all(options, lambda samples: Stopping(samples.total), lambda part: part)
    with Ranks(process_group) as ranks:
        here = device_of(next(iter(models.values()))) if device is None else torch.device(device)
        # All ranks decide alike whether the models fit into memory together.
        shared = replace(options, memory=ranks.least(available_memory(here)))
        return measure_all(
            shared, lambda samples: SharedStopping(ranks, samples.total, samples.batch_count), ranks.merged
        )


def _tell_assumed(recorder: ActivationRecorder) -> None:
    names = {layer.name: layer.axes_known for layer in recorder.layers}
    assumed = [name for name, known in names.items() if known == "assumed"]
    if assumed:
        warnings.warn(f"the channel axes of {len(assumed)} of {len(names)} layers are assumed ({assumed[0]}, ...): "
                      "check result.layers, and set them with channel_axis=", stacklevel=5)  # fmt: skip


def device_of(model: nn.Module) -> torch.device:
    """Device of a model; the CPU if it has neither parameters nor buffers."""
    return next((tensor.device for tensor in chain(model.parameters(), model.buffers())), torch.device("cpu"))


@contextmanager
def on_device(model: nn.Module, device: torch.device | str | None) -> Iterator[None]:
    """A context in which the model is on ``device``; None: where it is."""
    home = device_of(model)
    try:
        if device is not None:
            _move(model, device)
        yield
    finally:
        if device is not None:
            _move(model, home)


def _move(model: nn.Module, device: torch.device | str) -> None:
    model.to(device)
    registered = {*model.modules()}
    for _, module in named_modules(model):
        if module not in registered:
            module.to(device)
