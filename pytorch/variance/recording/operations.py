"""Functional operations (``x + y``, ``F.relu(x)``), seen as they run, and named after the module that calls them.

Nothing is traced: while the context is open, torch reports every call, so a forward pass may branch and loop.
Operations inside leaf modules do not count.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pytorch.variance.recording.layers import leaf_modules, named_modules, tensors_in

COPYING_OPERATIONS = frozenset({
    "cat", "clone", "concat", "concatenate", "contiguous", "detach", "expand", "flatten", "flip", "pad", "permute",
    "repeat", "reshape", "roll", "stack", "transpose",
    "bfloat16", "double", "float", "half", "to", "type",
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
})  # fmt: skip
"""Operations that only repeat or rearrange values: their output would be a copy of other layers."""

FILLING_OPERATIONS = re.compile(r"new_.*|.*_like")
"""Operations that use only the shape and type of their argument."""


class Operations(TorchFunctionMode):
    """Reports every functional operation of a model that computes new values.

    A name consists of the qualified name of the innermost running module and the name of the operation
    (``layer1.0.add``), with parentheses if a module has that name (``relu()`` next to ``relu``).

    Args:
        model: Network, any module.
        tell: Function called with the name and the result of each operation whose result contains tensors.
    """

    def __init__(self, model: nn.Module, tell: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._model = model
        self._tell = tell
        self._running: list[str] = []
        self._modules = {name for name, _ in named_modules(model)}
        self._leaves = {name for name, module in leaf_modules(model) if module is not model}

    def hook(self) -> list[Any]:
        """Put hooks on the model that track the running module, and return their handles."""
        handles = []
        for name, module in named_modules(self._model):
            if isinstance(module, torch.jit.ScriptModule):  # it accepts no hooks, and hides its operations
                continue
            enter = partial(self._enter, name if module is not self._model else "")
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(self._leave, always_call=True))
        return handles

    def restart(self) -> None:
        """Forget a call of the model that failed."""
        self._running.clear()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and report it."""
        result = func(*args, **(kwargs or {}))
        if not self._leaves.isdisjoint(self._running):
            return result
        operation = operation_name(func)
        repeats = operation in COPYING_OPERATIONS or FILLING_OPERATIONS.fullmatch(operation)
        if not repeats and self._is_new(func, result, args, kwargs or {}):
            scope = self._running[-1] if self._running else ""
            name = f"{scope}.{operation}".removeprefix(".")
            self._tell(f"{name}()" if name in self._modules else name, result)
        return result

    @staticmethod
    def _is_new(func: Callable[..., Any], result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the result contains new values, rather than a view or a property of the arguments."""
        tensors = tensors_in(result)
        if not tensors:
            return False
        if changes_its_argument(func) or kwargs.get("inplace"):
            return True
        kwargs = {key: value for key, value in kwargs.items() if key != "out"}
        if all(isinstance(tensor, nn.Parameter) for tensor in tensors_in([args, kwargs])):
            return False
        given = {tensor.untyped_storage().data_ptr() for tensor in tensors_in([args, kwargs])}
        return bool(given) and all(tensor.untyped_storage().data_ptr() not in given for tensor in tensors)

    def _enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        self._running.append(name)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._running:
            self._running.pop()


def operation_name(func: Callable[..., Any]) -> str:
    """Name an operation as a person would: ``add`` for ``torch.add``, ``x + y`` and ``x += y``.

    >>> import torch
    >>> operation_name(torch.Tensor.__iadd__), operation_name(torch.Tensor.relu_)
    ('add', 'relu')
    """
    name = getattr(func, "__name__", type(func).__name__)
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        return name[1:] if name[:1] in "ir" and name[1:] in {"add", "sub", "mul", "truediv", "matmul", "pow"} else name
    return name.strip("_")


def changes_its_argument(func: Callable[..., Any]) -> bool:
    """Whether the operation works in place.

    >>> import torch
    >>> changes_its_argument(torch.Tensor.relu_), changes_its_argument(torch.Tensor.relu)
    (True, False)
    """
    name = getattr(func, "__name__", "")
    return name.startswith("__i") if name.endswith("__") else name.endswith("_")
