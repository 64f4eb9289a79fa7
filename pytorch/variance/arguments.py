"""Checks of the arguments of a measurement; each raises an ``InputError`` of one line."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from pytorch.checked_numbers import real_number, whole_number
from pytorch.errors import InputError, one_line
from pytorch.files.checked_fields import LONGEST_NAME
from pytorch.names import MEASURES, PRECISIONS
from pytorch.variance.batches import Shard
from pytorch.variance.equivariance.turning import inverse_of
from pytorch.variance.result import check_class_names
from pytorch.variance.single_pass import PassOptions
from pytorch.variance.statistics.moments import DISPERSIONS


def check_types(
    models: object,
    images: object,
    labels: object,
    transformations: object,
    layers: object,
    channel_axis: object,
    reset: object,
) -> None:
    """Refuse arguments of types that cannot be used."""
    if not (isinstance(images, Iterable) or hasattr(images, "__getitem__")):
        raise InputError(f"images is {images!r}: it must be a tensor, an array, or an iterable of batches")
    if not (layers is None or isinstance(layers, Iterable) or takes(layers, "name", "module")):
        raise InputError(f"layers is {layers!r}: it must be names of layers, or a function of a name and a module")
    if isinstance(labels, Sequence) and any(map(callable, labels)):
        raise InputError("labels is a list of functions: pass None as labels, and then the transformations")
    if not isinstance(transformations, Iterable):
        raise InputError(f"transformations is {transformations!r}: it must be a sequence of functions, as rotations(4)")
    if reset is not None and not takes(reset):
        raise InputError(f"reset is {reset!r}: it must be a function without arguments, or None")
    if not (channel_axis is None or isinstance(channel_axis, Mapping) or takes(channel_axis, "name", "module")):
        raise InputError(f"channel_axis is {channel_axis!r}: it must be as {{'layer': 1}}, or a function of a name and "
                         "a module")  # fmt: skip
    if not isinstance(models, Mapping) or not models:
        raise InputError('models must be a mapping with at least one model, as {"before": first, "after": second}')


def kept_labels(class_statistics: bool | Sequence[str], classes: list[str] | None) -> list[int] | None:
    """Return the labels of the classes with statistics of their own; None: all."""
    if isinstance(class_statistics, bool):
        return None if class_statistics else []
    if isinstance(class_statistics, str) or not isinstance(class_statistics, Iterable):
        raise InputError(f"class_statistics is {class_statistics!r}: it must be True, False, or names of classes")
    chosen = [*dict.fromkeys(map(str, class_statistics))]
    for name in chosen:
        if not (name.isdecimal() if classes is None else name in classes):
            known = "labels, as '3'" if classes is None else ", ".join(map(repr, classes[:20]))
            raise InputError(f"there is no class {name!r} for statistics of its own: choose from {known}")
    return sorted(int(name) if classes is None else classes.index(name) for name in chosen)


def checked_shard(shard: Shard, tolerance: float | None) -> Shard:
    """Return the shard, if there is such a one."""
    numbers = isinstance(shard, Sequence) and len(shard) == 2 and all(isinstance(each, Integral) for each in shard)
    if not (numbers and 0 <= shard[0] < shard[1]):
        raise InputError(f"shard is {shard!r}: it must be a number from 0 and the number of shards, as (2, 8)")
    if tolerance is not None:
        raise InputError("a tolerance needs the sums of all samples, but shards are measured apart: omit tolerance, or "
                         "use process_group")  # fmt: skip
    return int(shard[0]), int(shard[1])


def check_options(options: PassOptions, batch_size: int) -> None:
    """Refuse numbers, names and functions that cannot be used."""
    if len(options.transformations) < 2:
        raise InputError(
            f"{len(options.transformations)} transformations: at least two are needed, "
            "the transformation variance of fewer is undefined"
        )
    for transformation in options.transformations:
        if not takes(transformation, "batch"):
            raise InputError(f"transformation {transformation!r} is no function of a batch; those of rotations(4) are")
    if options.preprocess is not None and not takes(options.preprocess, "batch"):
        raise InputError(f"preprocess is {options.preprocess!r}: it must be a function of a batch, or None")
    whole_number("batch_size", batch_size, least=1)
    if not -(2**63) <= whole_number("seed", options.seed) < 2**63:
        raise InputError(f"seed is {options.seed}: it must fit in 64 bits")
    for what, known in (("dispersion", DISPERSIONS), ("precision", PRECISIONS)):
        name = getattr(options, what)
        if not isinstance(name, str) or name not in known:
            raise InputError(f"unknown {what} {name!r}: choose one of {', '.join(known)}")
    if options.tolerance is not None:
        real_number("tolerance", options.tolerance, lambda number: 0 < number < float("inf"), "above 0")


def check_measure(measure: str, positions: int | None, options: PassOptions) -> None:
    """Refuse an unknown measure, and transformations without the inverses that it needs."""
    if not isinstance(measure, str) or measure not in MEASURES:
        raise InputError(f"unknown measure {measure!r}: choose one of {', '.join(MEASURES)}")
    if measure == "invariance":
        return
    if positions is not None:
        whole_number("positions", positions, least=1)
    for transformation in options.transformations:
        inverse_of(transformation)


def takes(function: object, *arguments: str) -> bool:
    """Return whether an object can be called with as many arguments; yes for built-ins, which hide their signature."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def checked_classes(classes: Sequence[str], labels: Tensor | None, images: object) -> list[str]:
    """Return the class names as a list, if they are strings and name something."""
    if not isinstance(classes, Iterable):
        raise InputError(f"classes is {classes!r}: it must be the names of the labels 0, 1, ..., or None")
    classes = [str(name) if isinstance(name, str) else name for name in classes]  # no subclass such as numpy.str_
    for name in classes:
        if not isinstance(name, str):
            raise InputError(f"class {name!r} is not a string: use classes=[str(name) for name in ...]")
        if not 0 < len(name) <= LONGEST_NAME:
            raise InputError(f"class {one_line(name, 20)!r} has {len(name)} letters: there must be 1 to {LONGEST_NAME}")
    if classes and labels is None and isinstance(images, Tensor | np.ndarray):
        raise InputError("classes names labels, but labels is None: give labels, or omit classes")
    check_class_names(classes)
    return classes


def check_model(model: nn.Module, device: torch.device | str | None, precision: str) -> None:
    """Refuse a model that cannot be measured on a device in a precision."""
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is of type {type(model).__name__}: it must be a torch.nn.Module")
    _check_place(model, device)
    _check_weights(model)
    if precision != "fp32" and any(values.dtype == torch.float64 for values in model.parameters()):
        raise InputError(f"precision {precision} leaves a model in float64 as it is: use fp32, or model.float()")


def _check_place(model: nn.Module, device: torch.device | str | None) -> None:
    """Refuse a model on several devices, and a device without float64."""
    places = sorted({str(tensor.device) for tensor in chain(model.parameters(), model.buffers())})
    if len(places) > 1:
        raise InputError(f"the model is on several devices ({', '.join(places)}): move it to one of them")
    try:
        wanted = None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device is {device!r}: it must be as 'cpu', 'cuda' or 'cuda:1', or None") from error
    for place in (wanted, *map(torch.device, places)):
        if place is not None and place.type not in ("cpu", "cuda"):
            raise InputError(f"device {place}: only cpu and cuda have the float64 that the measure needs")
    if wanted is not None and wanted.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device}: there is no CUDA device, or PyTorch was built without CUDA")


def _check_weights(model: nn.Module) -> None:
    """Refuse a model whose parameters are not finite.

    Parameters that are not trained may be infinite, such as attention masks of 0 and -inf, but not NaN.
    """
    parameters = [
        (name, values.detach())
        for name, values in model.named_parameters()
        if not isinstance(values, UninitializedParameter) and values.is_floating_point()
    ]
    # One test of all sums: any value that is not finite shows in them.
    sums = [_exactly(values).sum().double() for _, values in parameters]
    if not sums or torch.isfinite(torch.stack(sums)).all():
        return
    trained = {name for name, values in model.named_parameters() if values.requires_grad}
    counts = {name: _odd_count(_exactly(values), trained=name in trained) for name, values in parameters}
    found = [f"{count} in {name}" for name, count in counts.items() if count]
    if found:
        more = f" and {len(found) - 3} others" if len(found) > 3 else ""
        raise InputError(f"the model has weights that are NaN or infinite: {', '.join(found[:3])}{more}")


def _exactly(values: Tensor) -> Tensor:
    """Convert numbers of a type without addition (8-bit floats) to float32."""
    return values.float() if values.element_size() == 1 else values


def _odd_count(values: Tensor, *, trained: bool) -> int:
    return int((~torch.isfinite(values) if trained else torch.isnan(values)).sum())
