"""What a layer is: which modules and operations of a network are recorded, and by what names.

A layer is one call of a module that computes something: its output is more than a copy, and not that of a layer within
it. Whole blocks and functional operations are recorded where they are asked for. Every call counts: a ReLU that is used
twice gives ``relu`` and ``relu#2``. A tensor inside a tuple, mapping or dataclass is a layer of its own (``name[0]``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from pytorch.errors import InputError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
"""Modules that, without children, compute nothing; what is derived from them may."""

OWN_ATTRIBUTES = frozenset(vars(nn.Module()))
"""What every module has."""

WRAPPED_AS = ("tensor", "features", "F")
"""Attributes by which objects hold the one tensor that they are about: escnn's, sparse and other containers."""

LayerPredicate = Callable[[str, nn.Module | None], bool]
LayerChoice = None | str | Iterable[str] | LayerPredicate
"""``None``, ``"operations"``, names, or a function of a name and its module, or None for an operation."""

ChannelAxis = Mapping[str, Any] | Callable[[str, nn.Module | None], Any] | None
"""For names of layers, or by a function of a name and its module, an axis or several; None: it is found out."""


@dataclass(frozen=True)
class Layer:
    """A recording point: one tensor of one call.

    Attributes:
        name: The module's qualified name, ``#2`` and so on for its later calls, ``[key]`` for a part of its output.
        aggregation: How its positions became units; None where it has none.
        shape: Shape of the units of one sample after aggregation: (C,), or (C, H, W) without aggregation.
        channel_axes: Axes of the activation, (B, ...), that are kept; every other one but the first holds positions.
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
    """Which layers of a model are recorded.

    Attributes:
        operations: Whether functional operations may be layers too.

    Args:
        model: Any module.
        layers: None: every module that computes something. ``"operations"``: and every functional operation. Names, as
            results have them: of any module, leaf or block, of one of its calls (``relu#2``) or of one part of its
            output (``lstm[0]``), or of an operation (``layer1.0.add``; ``relu()`` where a module is called ``relu``).
            Or a function of a name and a module, None for an operation, that says whether to record it; it is asked
            about modules of every kind, blocks too.

    Raises:
        InputError: ``layers`` is of another kind, or empty.
    """

    def __init__(self, model: nn.Module, layers: LayerChoice = None) -> None:
        self._names: list[str] | None = None
        self._predicate: LayerPredicate | None = None
        self._modules = dict(named_modules(model))
        self.operations = layers == "operations" or callable(layers)
        if callable(layers):
            self._predicate = layers
        elif layers is not None and not self.operations:
            self._names = [layers] if isinstance(layers, str) else list(layers)
            if not self._names or not all(isinstance(name, str) for name in self._names):
                raise InputError("layers must be names of layers, at least one, or a function of a name and a module")
            own = tuple(f"{name}{mark}" for name in self._modules for mark in "#[")
            self.operations = not all(name in self._modules or name.startswith(own) for name in self._names)

    @property
    def by_function(self) -> bool:
        """Whether a function says what to record."""
        return self._predicate is not None

    @property
    def is_default(self) -> bool:
        """Whether every module that computes something is a layer."""
        return self._names is None and self._predicate is None

    def includes(self, names: Iterable[str], module: nn.Module | None) -> bool:
        """Whether a tensor was asked for.

        Args:
            names: Of the module or operation, of its call, and of the tensor itself.
            module: Whose output it is; None: an operation's.
        """
        if self._names is not None:
            return not {*self._names}.isdisjoint(names)
        return self._predicate is None or bool(self._predicate(next(iter(names)), module))

    def names(self, name: str) -> bool:
        """Whether the tensor of that name was asked for by just this name."""
        return self._names is not None and name in self._names

    def check_found(self, recorded: Iterable[str], seen: Iterable[str], reasons: Mapping[str, str]) -> None:
        """Check that every name that was asked for was met.

        Args:
            recorded: What the tensors that were recorded may be called by.
            seen: Names of the operations that were met.
            reasons: Why others could not be recorded.

        Raises:
            InputError: One was not; the message says why, or suggests the nearest name.
        """
        found = {*recorded}
        for name in self._names or ():
            if name not in found:
                if name in reasons:
                    raise InputError(f"layer {name} cannot be measured: {reasons[name]}")
                known = [known for known in (*self._modules, *seen) if known not in ("", name)]
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "see result.layer_names of a run without layers="
                raise InputError(f"no layer {name!r} was computed: {hint}")


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name the modules of a network, those that plain lists, tuples and dicts hold too; the root by its type.

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

    A module whose weights are parametrized (weight normalisation, say) is a leaf for all that, and so is multi-head
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
    """Why no dispersion of an activation can be had, and what to do; None: it can.

    >>> unreadable(torch.zeros(2, 3)), unreadable(torch.zeros(2, 3, dtype=torch.int64))
    (None, 'integers or truth values, which are no activations')
    """
    if activation.is_nested or activation.layout != torch.strided:
        kind = "nested" if activation.is_nested else "sparse"
        return f"a {kind} tensor: make it dense in the network, by to_padded_tensor() or to_dense()"
    if activation.is_quantized:
        return None
    if activation.is_complex():
        return "complex activations, of which no dispersion is defined: take .abs() in the network"
    if not activation.is_floating_point():
        return "integers or truth values, which are no activations"
    if activation.numel() == 0:
        return f"shape {tuple(activation.shape)}: there is nothing to measure"
    try:
        activation.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return "a tensor without memory, inside torch.vmap or another transform: record a module outside of it"
    return None


def named_tensors(name: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    """Name the tensors of a module's output, however deep in tuples, lists, mappings and dataclasses.

    An object with one tensor inside goes by the name of that tensor.

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
    elif output is None or isinstance(output, (int, float, str, bytes, nn.Module)):
        return
    elif (inner := wrapped_tensor(output)) is not None:
        yield name, inner
    elif is_dataclass(output) and not isinstance(output, type):
        for field in fields(output):
            yield from named_tensors(f"{name}[{field.name}]", getattr(output, field.name, None))


def tensors_in(output: Any) -> list[Tensor]:
    """The tensors that ``named_tensors`` names, without their names, which take longer to make."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, (tuple, list)):
        return [tensor for value in output for tensor in tensors_in(value)]
    return [tensor for _, tensor in named_tensors("", output)]


def plain(tensor: Tensor) -> Tensor:
    """An activation as an ordinary tensor, whatever its class; a quantized one as the numbers that it stands for."""
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def wrapped_tensor(output: Any) -> Tensor | None:
    """The tensor that an object is about, if it has one."""
    inner = (getattr(output, each, None) for each in WRAPPED_AS)
    return next((each for each in inner if isinstance(each, Tensor)), None)
