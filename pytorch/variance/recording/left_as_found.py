"""Contexts that put a network in evaluation mode, and restore it afterwards."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from pytorch.variance.recording.layers import named_modules


class Keeper:
    """Puts modules in evaluation mode, and restores them later.

    It sets the mode as an attribute, because an overridden ``train`` may do anything. It restores modes, attributes,
    containers, buffers and other tensors; parameters are not copied.
    """

    def __init__(self) -> None:
        self._attributes: dict[nn.Module, dict[str, Any]] = {}
        self._containers: dict[int, tuple[Any, Any]] = {}
        self._tensors: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(self, module: nn.Module) -> None:
        """Save the state of a module, and put it in evaluation mode."""
        self._attributes[module] = dict(vars(module))
        if not isinstance(module, (LazyModuleMixin, torch.jit.ScriptModule)):  # a lazy module changes its class
            for value in vars(module).values():
                self._remember(value)
        module.training = False

    def _remember(self, value: Any) -> None:
        if isinstance(value, Tensor):
            if isinstance(value, nn.Parameter) or value.layout != torch.strided or value.is_nested or value.is_meta:
                return
            self._tensors.setdefault(id(value), (value, value.detach().clone()))
        elif isinstance(value, (list, dict, set, deque)) and id(value) not in self._containers:
            self._containers[id(value)] = value, value.copy()
            for each in value.values() if isinstance(value, dict) else value:
                self._remember(each)
        elif isinstance(value, tuple):
            for each in value:
                self._remember(each)

    def restore(self) -> None:
        """Restore everything."""
        for value, before in self._containers.values():
            value.clear()
            value.extend(before) if isinstance(value, (list, deque)) else value.update(before)
        for module, attributes in self._attributes.items():
            module.training = attributes.get("training", True)
            if not isinstance(module, (LazyModuleMixin, torch.jit.ScriptModule)):
                for name in vars(module).keys() - attributes.keys():
                    del vars(module)[name]
                vars(module).update(attributes)
        with torch.inference_mode():  # only in this mode can inference tensors be written to
            for value, before in self._tensors.values():
                if not torch.equal(value, before):
                    value.copy_(before)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """A context in which every module of ``model`` is in evaluation mode; it restores modes only."""
    modes = [(module, module.training) for _, module in named_modules(model)]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def left_as_found(model: nn.Module) -> Iterator[Keeper]:
    """A context in which every module of ``model`` is in evaluation mode; it restores their whole state.

    >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with left_as_found(model):
    ...     [module.training for module in model]
    [False, False]
    >>> [module.training for module in model]
    [True, False]

    Yields:
        The keeper, which accepts further modules.
    """
    keeper = Keeper()
    try:
        for _, module in named_modules(model):
            keeper.keep(module)
        yield keeper
    finally:
        keeper.restore()
