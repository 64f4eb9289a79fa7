"""What a layer is: which modules and operations of a network are recorded, and by what names.

A layer is one call of a leaf module (a module without children; see ``leaf_modules``), or whatever else is asked for:
calls of any module, such as a whole block, and functional operations. Every call counts: a ReLU that is used twice
gives ``relu`` and ``relu#2``. A tensor inside a tuple, list or dict output is a layer of its own (``name[0]``).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from pytorch.errors import InputError

COPYING_MODULES = (
    nn.Identity, nn.Flatten, nn.Unflatten,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
"""Modules that in evaluation mode repeat their input: their layer would be a copy of the one before it."""

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
"""Modules that, without children, compute nothing; what is derived from them may."""

LayerPredicate = Callable[[str, nn.Module | None], bool]
LayerChoice = None | str | Iterable[str] | LayerPredicate
"""``None``, ``"operations"``, names, or a function of a name and its module, or None for an operation."""


@dataclass(frozen=True)
class Layer:
    """A recording point: one tensor of one call.

    Attributes:
        name: The module's qualified name, ``#2`` and so on for its later calls, ``[key]`` for a part of its output.
        aggregation: How its positions became units; None where it has none.
        shape: Shape of the units of one sample after aggregation: (C,), or (C, H, W) without aggregation.
    """

    name: str
    aggregation: str | None
    shape: tuple[int, ...]

    @property
    def units(self) -> int:
        """Number of units."""
        return int(torch.Size(self.shape).numel())


class LayerSelection:
    """Which layers of a model are recorded.

    Attributes:
        modules: Names and modules whose calls may be layers.
        operations: Whether functional operations may be layers too.

    Args:
        model: Any module.
        layers: None: the leaf modules. ``"operations"``: and every functional operation. Names, as results have
            them: of any module, leaf or block, of one of its calls (``relu#2``) or of one part of its output
            (``lstm[0]``), or of an operation (``layer1.0.add``; ``relu()`` where a module is called ``relu``). Or a
            function of a name and a module, None for an operation, that says whether to record it; it is asked about
            modules of every kind, blocks too.

    Raises:
        InputError: ``layers`` is of another kind, or empty.
    """

    def __init__(self, model: nn.Module, layers: LayerChoice = None) -> None:
        self._names: list[str] | None = None
        self._predicate: LayerPredicate | None = None
        self._model = model
        every = [(name or type(module).__name__, module) for name, module in model.named_modules()]
        if layers is None or layers == "operations":
            self.modules = [(name or type(module).__name__, module) for name, module in leaf_modules(model)]
            self.operations = layers is not None
        elif callable(layers):
            self._predicate = layers
            self.modules = [(name, module) for name, module in every if layers(name, module)]
            self.operations = True
        else:
            self._names = [layers] if isinstance(layers, str) else list(layers)
            if not self._names or not all(isinstance(name, str) for name in self._names):
                raise InputError("layers must be names of layers, at least one, or a function of a name and a module")
            wanted = {re.split(r"[#\[]", name, maxsplit=1)[0] for name in self._names}
            self.modules = [(name, module) for name, module in every if name in wanted]
            self.operations = bool(wanted - {name for name, _ in every})

    @property
    def by_function(self) -> bool:
        """Whether a function says what to record."""
        return self._predicate is not None

    def includes(self, name: str, *, operation: bool = False) -> bool:
        """Whether to record the tensor of that name."""
        if self._names is not None:
            return bool(self._names_of(name) & set(self._names))
        return not operation or self._predicate is None or self._predicate(name, None)

    def names(self, name: str) -> bool:
        """Whether the tensor of that name was asked for by just this name."""
        return self._names is not None and name in self._names

    def check_found(self, recorded: Iterable[str], seen: Iterable[str]) -> None:
        """Check that every name that was asked for was met.

        Args:
            recorded: Names of the tensors that were recorded.
            seen: Names of the operations that were met.

        Raises:
            InputError: One was not; the message suggests the nearest name.
        """
        if self._names is None:
            return
        found = set().union(*(self._names_of(name) for name in recorded))
        for name in self._names:
            if name not in found:
                known = [*(known for known, _ in self._model.named_modules() if known), *seen]
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "see result.layer_names of a run without layers="
                raise InputError(f"no layer {name!r} was computed: {hint}")

    @staticmethod
    def _names_of(name: str) -> set[str]:
        """A tensor's own name, that of its call and that of its module: ``a#2[0]``, ``a#2`` and ``a``."""
        return {name, name.split("[", 1)[0], re.split(r"[#\[]", name, maxsplit=1)[0]}


def leaf_modules(model: nn.Module, *, copying: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Name the modules without children, but for those that only repeat their input.

    A module whose weights are parametrized (weight normalisation, say) is a leaf for all that, and so is multi-head
    attention, which uses the weights of its child without calling it.

    Args:
        model: Any module.
        copying: Whether to include those that repeat their input.

    >>> linear = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> model = nn.Sequential(linear, nn.Sequential(nn.ReLU()), nn.Sequential())
    >>> [name for name, _ in leaf_modules(model)]
    ['0', '1.0']
    """
    inner: set[str] = set()
    for name, module in model.named_modules():
        if name in inner or name.rpartition(".")[0] in inner:
            inner.add(name)
            continue
        children = {child for child, _ in module.named_children()}
        if not children and type(module) in CONTAINERS:
            continue
        if children <= {"parametrizations"} or isinstance(module, nn.MultiheadAttention):
            inner |= {f"{name}.{child}".removeprefix(".") for child in children}
            if copying or not isinstance(module, COPYING_MODULES):
                yield name, module


def is_per_sample(activation: Tensor, batch: int) -> bool:
    """Whether the first axis of an activation is that of so many samples.

    >>> is_per_sample(torch.zeros(4, 3), 4), is_per_sample(torch.zeros(1, 4, 3), 4), is_per_sample(torch.zeros(()), 4)
    (True, False, False)
    """
    return activation.ndim > 0 and len(activation) == batch


def is_beside_samples(module: nn.Module, part: str) -> bool:
    """Whether a part of a module's output has something else than samples along its first axis, however many they are.

    >>> lstm = nn.LSTM(3, 5, num_layers=2, batch_first=True)
    >>> is_beside_samples(lstm, "[0]"), is_beside_samples(lstm, "[1][0]"), is_beside_samples(nn.LSTM(3, 5), "[0]")
    (False, True, True)
    """
    if isinstance(module, nn.RNNBase):
        return part != "[0]" or not module.batch_first  # the others are states, (layers, B, D)
    return isinstance(module, nn.MultiheadAttention) and part == "[0]" and not module.batch_first


def check_measurable(name: str, activation: Tensor, batch: int, *, beside: bool = False) -> None:
    """Refuse a layer without units of each sample.

    Args:
        name: Of the layer.
        activation: (B, ...), as it should be.
        batch: B.
        beside: Whether its first axis is known to be something else, however long.

    Raises:
        InputError: Its first axis is not the batch, it is empty, or complex; the message says what to do.
    """
    shape = tuple(activation.shape)
    if beside or not is_per_sample(activation, batch):
        what = f"shape {shape} for {batch} samples: its first axis is not the batch"
    elif activation.numel() == 0:
        what = f"shape {shape}: there is nothing to measure"
    elif activation.is_complex():
        what = "complex activations, of which no dispersion is defined"
    else:
        return
    raise InputError(f"layer {name} has {what} (layers= records others)")


def named_tensors(name: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    """Name the tensors of a module's output, however deep in tuples, lists and dicts.

    >>> [name for name, _ in named_tensors("lstm", (torch.zeros(1), [torch.zeros(1), None]))]
    ['lstm[0]', 'lstm[1][0]']
    """
    if isinstance(output, Tensor):
        yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from named_tensors(f"{name}[{key}]", value)
    elif isinstance(output, (tuple, list)):
        for index, value in enumerate(output):
            yield from named_tensors(f"{name}[{index}]", value)
