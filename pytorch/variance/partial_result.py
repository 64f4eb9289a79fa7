"""Shards of a measurement, measured apart and merged: in files, in memory, or between processes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytorch.errors import InputError
from pytorch.files import container, safe_pickle
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.equivariance.map_layers import MapSetup
from pytorch.variance.equivariance.outcome import whole_result
from pytorch.variance.outcome import Setup, check_count
from pytorch.variance.partial_file import PARTIAL_FORMAT, check_partial
from pytorch.variance.probe import differing
from pytorch.variance.result import VarianceResult
from pytorch.variance.statistics.accumulator import VarianceAccumulator
from pytorch.variance.statistics.influence import FEWEST_OF_SHARD

OF_SHARD = ("samples_offered", "rounding")
"""Attributes of a setup that each shard has of its own."""


@dataclass(frozen=True, eq=False)
class Sums:
    """State of an accumulator, as arrays.

    Attributes:
        arguments: Its arguments.
        labels: Labels of its rows.
        arrays: Its tensors, float64 and int64.
    """

    arguments: dict[str, Any]
    labels: list[int]
    arrays: list[np.ndarray]

    @classmethod
    def of(cls, accumulator: VarianceAccumulator) -> Self:
        """Return the state, which shares memory with an accumulator on the CPU."""
        arrays = [tensor.cpu().numpy() for tensor in accumulator.tensors()]
        return cls(accumulator.arguments, list(accumulator.labels), arrays)

    def accumulator(self) -> VarianceAccumulator:
        """Return an accumulator with the same arguments, without samples."""
        kind = MapAccumulator if "positions" in self.arguments else VarianceAccumulator
        return kind(**self.arguments, labels=self.labels)


@dataclass(frozen=True, eq=False)
class PartialResult:
    """Sums over the samples of one shard; ``merge_results`` turns all shards into a result.

    Attributes:
        shard: Number of the shard, from 0.
        shards: Number of shards.
        order: Digest of the labels and of the order of all samples.
        weights: Digest of the state of the model.
        probe: Description of the first of all samples and of the inputs made of them, see ``pytorch.variance.probe``.
        single: Whether the result is of a single aggregation, instead of a dict.
        setup: What was measured; None for an empty shard, which ran no network.
        maps: What was turned back; None: nothing.
        sums: Sums for each measure, ``"invariance"`` and ``"equivariance"``.
    """

    shard: int
    shards: int
    order: str
    weights: str
    probe: np.ndarray
    single: bool
    setup: Setup | None = None
    maps: MapSetup | None = None
    sums: dict[str, Sums] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"PartialResult(shard {self.shard} of {self.shards}, {self.samples} samples)"

    @property
    def samples(self) -> int:
        """Number of samples in the shard."""
        return next((int(sums.arrays[0].sum()) for sums in self.sums.values() if sums.arrays), 0)

    def arrays(self) -> Iterator[np.ndarray]:
        """The arrays of all sums, in order."""
        return chain.from_iterable(sums.arrays for sums in self.sums.values())

    def without_arrays(self) -> "PartialResult":
        """Return the shard without its arrays."""
        return replace(self, sums={measure: replace(sums, arrays=[]) for measure, sums in self.sums.items()})

    def save(self, path: str | PathLike[str]) -> None:
        """Write the shard to a file, whole or not at all.

        Raises:
            FileError: The file cannot be written.
            ValueError: ``load`` would refuse the shard, such as one with a layer name of 301 letters.
        """
        container.save(Path(path), PARTIAL_FORMAT, check_partial(self).to_dict(), safe_pickle.dumps)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a shard from a file; nothing in it is executed.

        Raises:
            FileError: ``save`` did not write the file, or it is damaged or of another version.
            FileNotFoundError: There is no file.
        """
        kind, loads = "a partial result", safe_pickle.loads
        return container.load(Path(path), PARTIAL_FORMAT, kind, loads, cls.from_dict, check_partial)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and numpy arrays."""
        setup, maps = (None if each is None else each.to_dict() for each in (self.setup, self.maps))
        sums = {measure: vars(each) for measure, each in self.sums.items()}
        return {**vars(self), "setup": setup, "maps": maps, "sums": sums}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Rebuild a shard from the output of ``to_dict``.

        Raises:
            TypeError, KeyError, AttributeError: The content does not describe a shard.
        """
        setup = None if content["setup"] is None else Setup.from_dict(content["setup"])
        maps = None if content["maps"] is None else MapSetup.from_dict(content["maps"])
        sums = {measure: Sums(**each) for measure, each in content["sums"].items()}
        return cls(**{**content, "setup": setup, "maps": maps, "sums": sums})


Part = PartialResult | str | PathLike[str]


def merge_results(parts: Iterable[Part]) -> VarianceResult | dict[str, Any]:
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
        first = first or loaded.without_arrays()
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
        merging.add(loaded, filler(loaded.arrays()), _name(found[shard], loaded))
    return merging.results()


class Merging:
    """Adds shards in the order of their numbers."""

    def __init__(self) -> None:
        self._first: PartialResult | None = None
        self._name = ""
        self._accumulators: dict[str, VarianceAccumulator] = {}

    def add(self, part: PartialResult, fill: Callable[[Tensor], Any], name: str) -> None:
        """Add a shard.

        Args:
            part: The shard; its arrays are not used.
            fill: Function that fills a tensor with the next of its arrays.
            name: Name of the shard in messages.

        Raises:
            InputError: It is of another measurement than the first one.
        """
        first = self._first or part
        mine, its = _in_common(first), _in_common(part)
        for what in mine:
            if its.get(what, mine[what]) != mine[what]:
                raise InputError(f"{name} differs from {self._name} in its {what}: measure all alike")
        if what := differing(first.probe, part.probe):
            raise InputError(f"{name} differs from {self._name} in its {what}: measure all alike")
        if first.setup is None or self._first is None:
            self._first, self._name = part.without_arrays(), name
        if part.setup is None:
            return
        if not self._accumulators:
            self._accumulators = {measure: sums.accumulator() for measure, sums in part.sums.items()}
        else:
            setup = self._first.setup
            changes: dict[str, Any] = {"samples_offered": setup.samples_offered + part.setup.samples_offered}
            if setup.rounding is not None and part.setup.rounding is not None:
                changes["rounding"] = np.maximum(setup.rounding, part.setup.rounding)
            self._first = replace(self._first, setup=replace(setup, **changes))
        for accumulator in self._accumulators.values():
            accumulator.merge_shard(fill, fewest(part.shards))

    def results(self) -> VarianceResult | dict[str, Any]:
        """The result of all shards.

        Raises:
            InputError: There are fewer than two samples.
        """
        if not self._accumulators:
            check_count(0)
        return whole_result(self._accumulators, self._first.setup, self._first.maps, single=self._first.single)


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


def _in_common(part: PartialResult) -> dict[str, Any]:
    """What all shards of a measurement share, in the words of a caller; of an empty shard, less is known."""
    known = {"number of shards": part.shards, "samples, labels or seed": part.order, "weights": part.weights}
    if part.setup is None:
        return known
    setup = part.setup.to_dict()
    found = known | {
        "measure": [*part.sums],
        "aggregation": (part.single, [*setup.pop("columns")]),
        "classes": ([sums.labels for sums in part.sums.values()], setup.pop("classes")),
        **{name.replace("_", " "): value for name, value in setup.items() if name not in OF_SHARD},
    }
    if part.maps is not None:
        found["positions"] = [
            (layer.name, layer.shape, layer.kept, layer.places.tolist()) for layer in part.maps.layers
        ]
        found["by_class"] = part.maps.by_class
    shapes = [sums.arguments["shape"] for sums in part.sums.values()]
    return found | {"batch_size, kind of device or C compiler": shapes}


def _loaded(part: Part) -> PartialResult:
    if isinstance(part, PartialResult):
        return part
    if isinstance(part, VarianceResult):
        raise InputError("a VarianceResult is whole: only partial results, of shard=, can be merged")
    return PartialResult.load(part)


def _name(part: Part, loaded: PartialResult) -> str:
    where = "" if isinstance(part, PartialResult) else f" ({fspath(part)})"
    return f"shard {loaded.shard}{where}"
