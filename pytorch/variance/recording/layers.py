"""What a layer is: which modules and operations of a network are recorded, and their names.

A layer is one call of a module that computes something: its output is not a copy, nor the output of a layer inside it.
Blocks and functional operations are recorded on request. Every call counts: a ReLU used twice gives ``relu`` and
``relu#2``. Each tensor inside a tuple, mapping or dataclass is a layer (``name[0]``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from pytorch.errors import InputError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
"""Modules that compute nothing if they have no children; derived classes may."""

OWN_ATTRIBUTES = frozenset(vars(nn.Module()))
"""Attributes of every module."""

WRAPPED_AS = ("tensor", "features", "F")
"""Attributes under which wrapper objects keep their tensor (escnn, sparse convolutions and others)."""

WITHOUT_TENSORS = (type(None), int, float, str, bytes, nn.Module)
"""Types that occur in arguments and outputs, and whose attributes are not searched for tensors."""

LayerPredicate = Callable[[str, nn.Module | None], bool]
LayerChoice = None | str | Iterable[str] | LayerPredicate
"""``None``, ``"operations"``, names, or a function of a name and its module (None for an operation)."""

ChannelAxis = Mapping[str, Any] | Callable[[str, nn.Module | None], Any] | None
"""Axis or axes for layer names, or a function of a name and its module; None: found automatically."""


@dataclass(frozen=True)
class Layer:
    """A recording point: one tensor of one call.

    Attributes:
        name: Qualified name of the module, with ``#2`` etc. for later calls and ``[key]`` for a part of its output.
        aggregation: How its positions became units; None if it has no positions.
        shape: Shape of the units of one sample after aggregation: (C,), or (C, H, W) without aggregation.
        channel_axes: Axes of the activation (B, ...) that hold units; all others except the first hold positions.
        axes_known: ``"known"``, ``"assumed"`` or ``"given"``; see ``pytorch.variance.recording.channel_axes``.
    """

    name: str
    aggregation: str | None
    shape: tuple[int, ...]
    channel_axes: tuple[int, ...] = (1,)
    axes_known: str = "known"

    @property
    def units(self) -> int:
        """Number of units."""
        return int(torch.Size(self.shape).numel())


class LayerSelection:
    """The layers of a model to record.

    Attributes:
        modules: Modules of the model, by name.
        is_default: Whether every module that computes something is selected.
        by_function: Whether a function selects the layers.
        operations: Whether functional operations can be layers.

    Args:
        model: Network, any module.
        layers: None: every module that computes something. ``"operations"``: functional operations too. Names as in
            results: a module (leaf or block), one of its calls (``relu#2``), a part of its output (``lstm[0]``), or an
            operation (``layer1.0.add``; ``relu()`` where a module is named ``relu``). Or a function of a name and a
            module (None for an operation) that returns whether to record it; it is called for blocks too.

    Raises:
        InputError: ``layers`` has another type, or is empty.
    """

    def __init__(self, model: nn.Module, layers: LayerChoice = None) -> None:
        self._names: list[str] | None = None
        self._predicate: LayerPredicate | None = layers if callable(layers) else None
        self.modules = dict(named_modules(model))
        self.is_default = layers is None or layers == "operations"
        self.by_function = callable(layers)
        self.operations = layers == "operations" or self.by_function
        if layers is not None and not self.operations:
            self._names = [layers] if isinstance(layers, str) else list(layers)
            if not self._names or not all(isinstance(name, str) for name in self._names):
                raise InputError("layers must be names of layers, at least one, or a function of a name and a module")
            own = tuple(f"{name}{mark}" for name in self.modules for mark in "#[")
            self.operations = not all(name in self.modules or name.startswith(own) for name in self._names)

    def includes(self, names: Iterable[str], module: nn.Module | None) -> bool:
        """Whether a tensor is selected.

        Args:
            names: Names of the module or operation, of its call, and of the tensor.
            module: Module that computed it; None for an operation.
        """
        if self._names is not None:
            return not {*self._names}.isdisjoint(names)
        return self._predicate is None or bool(self._predicate(next(iter(names)), module))

    def names(self, name: str) -> bool:
        """Whether a tensor is selected by exactly this name."""
        return self._names is not None and name in self._names

    def check_found(self, recorded: Iterable[str], seen: Iterable[str], reasons: Mapping[str, str]) -> None:
        """Check that every selected name was recorded.

        Args:
            recorded: All names of the recorded tensors.
            seen: Names of the modules and operations that were called.
            reasons: Reasons why other tensors were not recorded.

        Raises:
            InputError: A name is missing; the message gives the reason or the nearest name.
        """
        found = {*recorded}
        for name in self._names or ():
            if name not in found:
                if name in reasons:
                    raise InputError(f"layer {name} cannot be measured: {reasons[name]}")
                known = [known for known in (*self.modules, *seen) if known not in ("", name)]
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "see result.layer_names of a run without layers="
                raise InputError(f"no layer {name!r} was computed: {hint}")


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name the modules of a network, including those in plain lists, tuples and dicts; the root has its type's name.

    >>> model = nn.Sequential(nn.ReLU())
    >>> model.spare = [nn.Tanh()]
    >>> [name for name, _ in named_modules(model)]
    ['Sequential', '0', 'spare.0']
    """
    seen: set[int] = set()

    def walk(prefix: str, value: Any) -> Iterator[tuple[str, nn.Module]]:
        if not isinstance(value, (nn.Module, list, tuple, dict)) or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, nn.Module):
            yield prefix, value
            others = ((name, held) for name, held in vars(value).items() if name not in OWN_ATTRIBUTES)
            held = [*value._modules.items(), *(pair for pair in others if not isinstance(pair[1], nn.Module))]
        else:
            held = list(value.items() if isinstance(value, dict) else enumerate(value))
        for name, each in held:
            yield from walk(f"{prefix}.{name}".removeprefix("."), each)

    for name, module in walk("", model):
        yield name or type(module).__name__, module


def leaf_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name the modules without children.

    A module with parametrized weights (such as weight normalisation) counts as a leaf, and so does multi-head
    attention, which uses the weights of its child without calling it.

    >>> linear = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> model = nn.Sequential(linear, nn.Sequential(nn.ReLU()), nn.Sequential())
    >>> [name for name, _ in leaf_modules(model)]
    ['0', '1.0']
    """
    inner: set[int] = set()
    for name, module in named_modules(model):
        if id(module) in inner:
            continue
        children = {child for child, _ in module.named_children()}
        if not children and type(module) in CONTAINERS:
            continue
        if children <= {"parametrizations"} or isinstance(module, nn.MultiheadAttention):
            inner |= {id(each) for each in module.modules()}
            yield name, module


def unreadable(activation: Tensor) -> str | None:
    """Reason why an activation has no dispersion, and what to do about it; None if it has one.

    >>> unreadable(torch.zeros(2, 3)), unreadable(torch.zeros(2, 3, dtype=torch.int64))
    (None, 'integers or booleans, which are not activations')
    """
    if activation.is_nested or activation.layout != torch.strided:
        kind = "nested" if activation.is_nested else "sparse"
        return f"a {kind} tensor: make it dense in the network, by to_padded_tensor() or to_dense()"
    if activation.is_quantized:
        return None
    if activation.is_complex():
        return "complex activations, whose dispersion is undefined: take .abs() in the network"
    if not activation.is_floating_point():
        return "integers or booleans, which are not activations"
    if activation.numel() == 0:
        return f"shape {tuple(activation.shape)}: there is nothing to measure"
    try:
        activation.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return "a tensor without memory, inside torch.vmap or another transform: record a module outside it"
    return None


def named_tensors(name: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    """Name the tensors of a module's output, at any depth in tuples, lists, mappings and dataclasses.

    A wrapper object has the name of its tensor.

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
    elif isinstance(output, WITHOUT_TENSORS):
        return
    elif (inner := wrapped_tensor(output)) is not None:
        yield name, inner
    elif is_dataclass(output) and not isinstance(output, type):
        for field in fields(output):
            yield from named_tensors(f"{name}[{field.name}]", getattr(output, field.name, None))


def tensors_in(output: Any) -> list[Tensor]:
    """Return the tensors that ``named_tensors`` names; faster, because it makes no names."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, (tuple, list)):
        return [tensor for value in output for tensor in tensors_in(value)]
    return [] if isinstance(output, WITHOUT_TENSORS) else [tensor for _, tensor in named_tensors("", output)]


def plain(tensor: Tensor) -> Tensor:
    """Convert an activation of any tensor class to a plain tensor, and dequantize it."""
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def wrapped_tensor(output: Any) -> Tensor | None:
    """Return the tensor of a wrapper object, or None."""
    inner = (getattr(output, each, None) for each in WRAPPED_AS)
    return next((each for each in inner if isinstance(each, Tensor)), None)
