"""Shards of a measurement, measured apart and merged: in files, in memory, or between processes."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytorch.errors import InputError
from pytorch.files import safe_pickle
from pytorch.files.checked_fields import check_fields, check_lengths, demand
from pytorch.files.container import load, save
from pytorch.files.sealed_file import Format
from pytorch.variance.outcome import Setup, results
from pytorch.variance.result import VarianceResult
from pytorch.variance.statistics.accumulator import VarianceAccumulator, state_shapes
from pytorch.variance.statistics.influence import FEWEST_OF_SHARD
from pytorch.variance.statistics.moments import DISPERSIONS

OF_SHARD = ("samples_offered", "rounding")
"""Attributes of a setup that each shard has of its own."""

PARTIAL_FORMAT = Format("variance-experiments partial result", version=1)


@dataclass(frozen=True, eq=False)
class PartialResult:
    """Sums over the samples of one shard; ``merge_results`` turns all shards into a result.

    Attributes:
        shard: Number of the shard, from 0.
        shards: Number of shards.
        order: Digest of the labels and of the order of all samples.
        weights: Digest of the state of the model.
        single: Whether the result is of a single aggregation, instead of a dict.
        setup: What was measured; None for an empty shard, which ran no network.
        arguments: Arguments of the ``VarianceAccumulator``.
        labels: Labels of its rows.
        sums: Its state, float64 and int64.
    """

    shard: int
    shards: int
    order: str
    weights: str
    single: bool
    setup: Setup | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    sums: list[np.ndarray] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"PartialResult(shard {self.shard} of {self.shards}, {self.samples} samples)"

    @property
    def samples(self) -> int:
        """Number of samples in the shard."""
        return int(self.sums[0].sum()) if self.sums else 0

    def with_sums(self, accumulator: VarianceAccumulator, setup: Setup) -> "PartialResult":
        """Return the shard with its sums, which share memory with an accumulator on the CPU."""
        sums = [tensor.cpu().numpy() for tensor in accumulator.tensors()]
        labels = list(accumulator.labels)
        return replace(self, setup=setup, arguments=accumulator.arguments, labels=labels, sums=sums)

    def without_sums(self) -> "PartialResult":
        """Return the shard without its sums."""
        return replace(self, sums=[])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the shard to a file, whole or not at all.

        Raises:
            FileError: The file cannot be written.
            ValueError: ``load`` would refuse the shard, such as one with a layer name of 301 letters.
        """
        _checked(self)
        setup = None if self.setup is None else self.setup.to_dict()
        save(Path(path), PARTIAL_FORMAT, {**vars(self), "setup": setup}, safe_pickle.dumps)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "PartialResult":
        """Read a shard from a file; nothing in it is executed.

        Raises:
            FileError: ``save`` did not write the file, or it is damaged or of another version.
            FileNotFoundError: There is no file.
        """

        def rebuild(content: dict[str, Any]) -> PartialResult:
            setup = None if content["setup"] is None else Setup.from_dict(content["setup"])
            return _checked(cls(**{**content, "setup": setup}))

        return load(Path(path), PARTIAL_FORMAT, "a partial result", safe_pickle.loads, rebuild)


Part = PartialResult | str | PathLike[str]


def merge_results(parts: Iterable[Part]) -> VarianceResult | dict[str, VarianceResult]:
    """Merge all shards of a measurement.

    Shards are merged in the order of their numbers, so the result has the same bits in whatever order they are given.

    Args:
        parts: Partial results, or their files, one for each shard. Files are read one at a time.

    Returns:
        What ``measure_variance`` returns for all samples.

    Raises:
        InputError: A shard is missing or given twice, or shards are of different measurements; the message names them.
        FileError: A file is not one of a partial result, or is damaged.
        FileNotFoundError: There is no such file.
    """
    if isinstance(parts, PartialResult | str | PathLike):
        raise InputError("merge_results takes a list of all shards")
    found: dict[int, Part] = {}
    first: PartialResult | None = None
    for part in parts:
        loaded = _loaded(part)
        first = first or loaded.without_sums()
        if loaded.shards != first.shards:
            raise InputError(f"{_name(part, loaded)} is one of {loaded.shards} shards, not of {first.shards}")
        if loaded.shard in found:
            raise InputError(f"{_name(part, loaded)} is given twice: give each shard once")
        found[loaded.shard] = part
    if first is None:
        raise InputError("there are no shards to merge")
    # A file from a stranger may speak of any number of shards.
    if missing := [*islice((shard for shard in range(first.shards) if shard not in found), 11)]:
        some = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise InputError(f"of shards 0 to {first.shards - 1}, {some} {'is' if len(missing) == 1 else 'are'} missing")
    merging = Merging()
    for shard in sorted(found):
        loaded = _loaded(found[shard])
        merging.add(loaded, filler(loaded.sums), _name(found[shard], loaded))
    return merging.results()


class Merging:
    """Adds shards in the order of their numbers."""

    def __init__(self) -> None:
        self._first: PartialResult | None = None
        self._name = ""
        self._accumulator: VarianceAccumulator | None = None

    def add(self, part: PartialResult, fill: Callable[[Tensor], Any], name: str) -> None:
        """Add a shard.

        Args:
            part: The shard; its sums are not used.
            fill: Function that fills a tensor with the next of its sums.
            name: Name of the shard in messages.

        Raises:
            InputError: It is of another measurement than the first one.
        """
        first = self._first or part
        mine, its = _in_common(first), _in_common(part)
        for what in mine:
            if its.get(what, mine[what]) != mine[what]:
                raise InputError(f"{name} differs from {self._name} in its {what}: measure all alike")
        if first.setup is None or self._first is None:
            self._first, self._name = part.without_sums(), name
        if part.setup is None:
            return
        if self._accumulator is None:
            self._accumulator = VarianceAccumulator(**part.arguments, labels=part.labels)
        else:
            setup = self._first.setup
            changes: dict[str, Any] = {"samples_offered": setup.samples_offered + part.setup.samples_offered}
            if setup.rounding is not None and part.setup.rounding is not None:
                changes["rounding"] = np.maximum(setup.rounding, part.setup.rounding)
            self._first = replace(self._first, setup=replace(setup, **changes))
        self._accumulator.merge_shard(fill, fewest(part.shards))

    def results(self) -> VarianceResult | dict[str, VarianceResult]:
        """The result of all shards.

        Raises:
            InputError: There are fewer than two samples.
        """
        if self._accumulator is None:
            raise InputError("0 samples: at least two are needed, the sample variance of fewer is undefined")
        found = results(self._accumulator, self._first.setup)
        return next(iter(found.values())) if self._first.single else found


def fewest(shards: int) -> int:
    """Minimum number of samples of a group in a shard to contribute to the errors of the group."""
    return FEWEST_OF_SHARD if shards > 1 else 0


def filler(arrays: Iterable[np.ndarray]) -> Callable[[Tensor], Any]:
    """Return a function that fills one tensor after the other with these arrays."""
    following = iter(arrays)
    return lambda tensor: np.copyto(tensor.numpy(), next(following), casting="no")


def state_digest(model: nn.Module) -> str:
    """Return sixteen hexadecimal digits that depend on the parameters and buffers of a model.

    Of tensors without plain memory, such as quantized ones, they depend on the shape alone.
    """
    content = hashlib.sha256()
    for name, values in chain(model.named_parameters(), model.named_buffers()):
        if not is_lazy(values):
            content.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            with suppress(RuntimeError, TypeError, NotImplementedError):
                content.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return content.hexdigest()[:16]


def _checked(part: PartialResult) -> PartialResult:
    """Check a shard from or for a file, and return it.

    Raises:
        ValueError: No measurement gives such a shard; the message says why.
    """
    check_fields(part)
    demand(0 <= part.shard < part.shards, "there is no such shard")
    setup, arguments = part.setup, part.arguments
    if setup is None:
        demand(not (part.sums or part.labels or arguments), "it has sums of an unknown network")
        return part
    check_lengths([layer.name for layer in setup.layers] + setup.transformations + (setup.classes or []))
    demand(all(size >= 0 for layer in setup.layers for size in layer.shape), "its layers have impossible shapes")
    sizes = [layer.units for layer in setup.layers]
    wholes = [*setup.columns.values()]
    demand(all(0 <= column < len(sizes) for whole in wholes for column in whole), "its aggregations lack layers")
    demand(part.labels == sorted({*part.labels}) != [], "its labels are impossible")
    demand(setup.classes is None or part.labels[-1] < len(setup.classes), "its labels have no names")
    shape = arguments.get("shape")
    demand(isinstance(shape, tuple) and [type(size) for size in shape] == [int, int] and min(shape) > 0,
           "its blocks are impossible")  # fmt: skip
    expected = {"transformations": len(setup.transformations), "layers": sizes, "dispersion": setup.dispersion,
                "wholes": wholes, "shape": shape}  # fmt: skip
    demand(arguments == expected and setup.dispersion in DISPERSIONS, "its sums are not those of its layers")
    # Checked first, so that no work or memory exceeds what the size of the file accounts for.
    demand(sum(sizes) <= sum(array.size for array in part.sums), "its sums are of fewer units")
    shapes = [*state_shapes(len(setup.transformations), sizes, wholes, shape, len(part.labels))]
    kinds = "i" + 2 * "fii" + "f" * (len(shapes) - 7)
    found = [(array.shape, array.dtype.kind) for array in part.sums]
    demand(found == [*zip(shapes, kinds, strict=True)], "its sums have other shapes")
    demand(setup.samples_offered is not None, "its number of samples is unknown")
    demand(bool((part.sums[0] >= 0).all()), "its numbers of samples are impossible")
    demand(setup.rounding is None or setup.rounding.shape == (sum(sizes),), "its rounding bounds are impossible")
    return part


def _in_common(part: PartialResult) -> dict[str, Any]:
    """What all shards of a measurement share, in the words of a caller; of an empty shard, less is known."""
    known = {"number of shards": part.shards, "samples, labels or seed": part.order, "weights": part.weights}
    if part.setup is None:
        return known
    setup = part.setup.to_dict()
    return known | {
        "aggregation": (part.single, [*setup.pop("columns")]),
        "classes": (part.labels, setup.pop("classes")),
        **{name.replace("_", " "): value for name, value in setup.items() if name not in OF_SHARD},
        "batch_size, kind of device or C compiler": part.arguments["shape"],
    }


def _loaded(part: Part) -> PartialResult:
    if isinstance(part, PartialResult):
        return part
    if isinstance(part, VarianceResult):
        raise InputError("a VarianceResult is whole: only partial results, of shard=, can be merged")
    return PartialResult.load(part)


def _name(part: Part, loaded: PartialResult) -> str:
    where = "" if isinstance(part, PartialResult) else f" ({fspath(part)})"
    return f"shard {loaded.shard}{where}"
