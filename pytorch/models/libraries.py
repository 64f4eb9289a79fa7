"""Networks from elsewhere, by name: of torchvision, timm or transformers, or from a function in a file.

    torchvision:resnet50    timm:convnext_tiny    hf:vit    hf:path/to/folder    path/to/file.py:function

Importing this module imports neither torch nor any of these libraries.
"""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytorch.errors import InputError, ReportedError, one_line

if TYPE_CHECKING:
    from torch import nn

FORMS = "torchvision:resnet50, timm:convnext_tiny, hf:vit, hf:path/to/folder or path/to/file.py:function"
"""Examples of names."""

LONGEST_NAME = 50
"""In letters; file names contain it."""


@dataclass(frozen=True)
class InputSettings:
    """The input that a network was made for; None where its configuration does not say.

    Attributes:
        size: Height and width, in pixels.
        mean: Mean that is subtracted from pixels / 255, one per channel.
        std: Standard deviation by which they are divided, one per channel.
    """

    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def is_library_name(name: str) -> bool:
    """Whether a name means a network from elsewhere, and not a key of ``MODELS``."""
    return ":" in name


def check_form(name: str) -> None:
    """Check that a name has one of the known forms.

    Raises:
        InputError: It has none.
    """
    _split(name)


def file_name(name: str) -> str:
    """Return the name of a network in file names and figures.

    Raises:
        InputError: The name has none of the known forms, or is too long.

    >>> file_name("torchvision:resnet50"), file_name("nets/mine.py:build"), file_name("hf:org/vit-base")
    ('torchvision-resnet50', 'mine-build', 'hf-org-vit-base')
    """
    library, what = _split(name)
    parts = [library, what] if library in _BUILDERS else [Path(library).stem, what]
    label = re.sub(r"[^0-9A-Za-z_.]+", "-", "-".join(parts)).strip("-.")
    if len(label) > LONGEST_NAME:
        raise InputError(f"results of {name} need a shorter name, of at most {LONGEST_NAME} letters: give --name")
    return label


def can_be_pretrained(name: str) -> bool:
    """Whether a library has weights for the network; a function in a file loads its own."""
    return _split(name)[0] in _BUILDERS


def build_network(name: str, seed: int, *, pretrained: bool = False) -> "tuple[nn.Module, InputSettings]":
    """Build a network in evaluation mode, on the CPU.

    Args:
        name: Name in one of the forms above.
        seed: Random seed for its initial weights.
        pretrained: Whether to load the weights that the library has for it, from its cache or the internet.

    Raises:
        InputError: There is no such network, it cannot be built, or it has no weights; the message says what to do.
    """
    import torch
    from torch import nn
    from torch.nn.parameter import UninitializedTensorMixin

    library, what = _split(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network, settings = (
                _BUILDERS[library](what, pretrained) if library in _BUILDERS else _of_file(Path(library), what)
            )
        except ReportedError:
            raise
        except Exception as error:  # the library's and the user's code raise anything
            state = "pretrained" if pretrained else "built"
            hint = "; without internet, load the weights from a file with --weights" if pretrained else ""
            raise InputError(f"{name} cannot be {state} ({one_line(_reason(error), longest=300)}){hint}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{name} gives an object of type {type(network).__name__}: it must be a torch.nn.Module")
    if any(isinstance(values, UninitializedTensorMixin) for values in network.parameters()):
        raise InputError(f"{name} has lazy modules, whose shapes are not known yet: run one batch through it first")
    return network.eval(), settings


def _split(name: str) -> tuple[str, str]:
    """Return the library, or the path of a file, and the name in it."""
    library, _, what = name.partition(":")
    if library not in _BUILDERS:
        library, _, what = name.rpartition(":")
        if not library.endswith(".py"):
            library = ""
    if not (library and what):
        raise InputError(f"unknown network {name!r}: write it as {FORMS}")
    return library, what


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _required(module: str, library: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{library}: networks need the package {module}: pip install {module} ({error})") from error


def _check_known(what: str, known: Iterable[str], library: str) -> None:
    known = list(known)
    if what not in known:
        nearest = get_close_matches(what, known)
        hint = f"did you mean {', '.join(nearest)}?" if nearest else f"it has {len(known)} networks"
        raise InputError(f"{library} has no network {what!r}: {hint}")


def _of_torchvision(what: str, pretrained: bool) -> tuple[Any, InputSettings]:
    from pytorch.torchvision_import import import_torchvision

    models = import_torchvision().models
    _check_known(what, models.list_models(), "torchvision")
    settings = models.get_model_weights(what).DEFAULT.transforms()
    size = getattr(settings, "crop_size", None)
    network = models.get_model(what, weights="DEFAULT" if pretrained else None)
    return network, _settings(size, getattr(settings, "mean", None), getattr(settings, "std", None))


def _of_timm(what: str, pretrained: bool) -> tuple[Any, InputSettings]:
    from pytorch.torchvision_import import import_torchvision

    import_torchvision()  # timm imports it, too
    timm = _required("timm", "timm")
    _check_known(what.partition(".")[0], timm.list_models(), "timm")
    network = timm.create_model(what, pretrained=pretrained)
    settings = timm.data.resolve_model_data_config(network)
    return network, _settings(settings["input_size"][-1], settings["mean"], settings["std"])


def _of_transformers(what: str, pretrained: bool) -> tuple[Any, InputSettings]:
    from pytorch.torchvision_import import import_torchvision

    import_torchvision()  # transformers imports it, too
    transformers = _required("transformers", "hf")
    kinds = list(transformers.CONFIG_MAPPING)
    is_place = "/" in what or Path(what).is_dir()
    if not is_place:
        _check_known(what, kinds, "transformers")
        if pretrained:
            raise InputError(f"hf:{what} names an architecture without weights: use a local folder or org/name")
    config = transformers.AutoConfig.from_pretrained(what) if is_place else transformers.AutoConfig.for_model(what)
    known = [getattr(transformers, name) for name in config.architectures or () if hasattr(transformers, name)]
    if pretrained:
        network = (known or [transformers.AutoModel])[0].from_pretrained(what)
    else:
        network = known[0](config) if known else transformers.AutoModel.from_config(config)
    file = Path(what, "preprocessor_config.json")
    if file.is_file():
        pixels = json.loads(file.read_text(encoding="utf-8"))
    elif pretrained and not Path(what).is_dir():
        pixels = transformers.AutoImageProcessor.from_pretrained(what).to_dict()
    else:
        pixels = {}
    size = getattr(config, "image_size", None)
    return network, _settings(size, pixels.get("image_mean"), pixels.get("image_std"))


def _of_file(file: Path, function: str) -> tuple[Any, InputSettings]:
    """Call a function in a file; its network may declare ``image_size``, ``mean`` and ``std``."""
    if not file.is_file():
        raise InputError(f"{file} is not a file: write a network of your own as path/to/file.py:function")
    place = str(file.parent.resolve())
    sys.path.insert(0, place)  # as Python does for a script, so that the file can import its neighbours
    try:
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(file.stem, module)  # dataclasses and pickles look their module up
        spec.loader.exec_module(module)
        found = getattr(module, function, None)
        if not callable(found):
            raise InputError(f"{file} has no function {function!r}: it must return the network")
        network = found()
    finally:
        sys.path.remove(place)
    declared = (getattr(network, attribute, None) for attribute in ("image_size", "mean", "std"))
    return network, _settings(*declared)


def _settings(size: Any, mean: Any, std: Any) -> InputSettings:
    """Build settings from a configuration, which may give a size as a number or as a sequence."""
    size = size[0] if isinstance(size, list | tuple) and size else size
    constants = (tuple(map(float, each)) if isinstance(each, list | tuple) else None for each in (mean, std))
    return InputSettings(size if isinstance(size, int) else None, *constants)


_BUILDERS: dict[str, Callable[[str, bool], tuple[Any, InputSettings]]] = {
    "torchvision": _of_torchvision,
    "timm": _of_timm,
    "hf": _of_transformers,
}
