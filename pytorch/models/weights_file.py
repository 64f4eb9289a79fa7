"""Loading weights from a file that others have written; nothing in the file is executed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytorch.errors import InputError, one_line

NESTED = "state_dict", "model_state_dict", "model"
"""Keys under which training programs keep the weights in a checkpoint."""

WRAPPERS = "module.", "_orig_mod."
"""Prefixes that DistributedDataParallel and torch.compile give to all names."""

UNUSED = "num_batches_tracked"
"""A buffer that evaluation does not use, and that converted weights often lack."""

MOST_NAMED = 3


def load_weights(network: nn.Module, file: Path) -> None:
    """Load a state dict, of torch or safetensors, into a network.

    In a checkpoint, the weights may be under one of ``NESTED``; prefixes that all names share are removed.

    Args:
        network: Network to change.
        file: File whose name ends in ``.safetensors``, or one of ``torch.save``.

    Raises:
        InputError: The file cannot be read, or its weights do not fit the network.
    """
    weights = _weights(_read(file), file)
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): values for name, values in weights.items()}
    wanted = network.state_dict()
    odd = {
        "are missing": {name for name in wanted.keys() - weights.keys() if not name.endswith(UNUSED)},
        "are not in the network": weights.keys() - wanted.keys(),
        "have another shape": {
            name for name, values in weights.items() if name in wanted and values.shape != wanted[name].shape
        },
    }
    if found := [f"{len(names)} {what} ({_some(names)})" for what, names in odd.items() if names]:
        raise InputError(f"the weights in {file} do not fit the network: {'; '.join(found)}")
    network.load_state_dict(weights, strict=False)


def _read(file: Path) -> Any:
    if not file.is_file():
        raise InputError(f"there is no file of weights at {file}")
    try:
        if file.suffix == ".safetensors":
            try:
                from safetensors.torch import load_file
            except ImportError as error:
                raise InputError(f"{file} needs the package safetensors: pip install safetensors") from error
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # readers raise anything for damaged files
        if "Unsupported global" in str(error):
            raise InputError(
                f"{file} contains more than weights, and loading it could execute code: save the state dict alone, "
                "as torch.save(network.state_dict(), file)"
            ) from error
        # PyTorch's own message would advise to execute what the file contains.
        reason = "torch.save did not write it" if "Weights only" in str(error) else one_line(error, longest=200)
        raise InputError(
            f"{file} cannot be read as weights ({reason}): give a state dict that torch or safetensors saved"
        ) from error


def _weights(content: Any, file: Path) -> dict[str, Tensor]:
    """Return the state dict in a file."""
    nested = [content[key] for key in NESTED if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    for each in (content, *nested):
        if isinstance(each, Mapping) and each and all(isinstance(values, Tensor) for values in each.values()):
            return dict(each)
    raise InputError(f"{file} holds no state dict: save one with torch.save(network.state_dict(), file)")


def _some(names: set[str]) -> str:
    return ", ".join([*sorted(names)[:MOST_NAMED], *(["..."] if len(names) > MOST_NAMED else [])])
