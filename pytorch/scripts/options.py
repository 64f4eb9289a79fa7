"""The command line that the scripts share: options, and checks of their values."""

import argparse
import os
import re
import tempfile
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytorch.datasets import DATASETS, dataset_name
from pytorch.errors import FileError, InputError, one_line
from pytorch.experiments.vocabulary import CONTROLS, RANDOM_WEIGHTS
from pytorch.models import MODELS
from pytorch.models.libraries import FORMS, LONGEST_NAME, can_be_pretrained, check_form, is_library_name
from pytorch.names import (
    AGGREGATIONS,
    MEASURES,
    POSITIONS,
    PRECISIONS,
    TRANSFORMATIONS,
    aggregation_names,
    find_name,
)

if TYPE_CHECKING:
    import torch

RESULTS_DIR, PLOTS_DIR = Path("~/variance_results"), Path("plots")

HIGHEST = 2**31 - 1
"""Largest whole number that an option accepts by default."""

USAGE = 2
"""Exit code for a wrong command line."""


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        self.exit(USAGE, f"{self.prog}: error: {one_line(message)} (--help lists the options)\n")


class _Once(argparse.Action):
    """Stores the only value of an option; a second, different one would ask for a second measurement."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        """Store the value.

        Raises:
            argparse.ArgumentError: The option already has another value.
        """
        if getattr(namespace, self.dest) not in (None, value):
            raise argparse.ArgumentError(self, "takes one value: run the script once per value")
        setattr(namespace, self.dest, value)


def experiment_parser(description: str, *, any_network: bool = False) -> Parser:
    """Build a parser for an experiment on one model and one data set; ``any_network`` admits those from elsewhere."""
    parser = Parser(description=description)
    others, images = (f"; or {FORMS}", ", for such networks any folder of images") if any_network else ("", "")
    parser.add_argument(
        "model", type=network_argument if any_network else model_argument,
        help=f"{', '.join(MODELS)} (letter case, - and _ do not matter){others}",
    )  # fmt: skip
    parser.add_argument(
        "dataset", type=dataset_argument,
        help=f"{', '.join(DATASETS)}, or a folder with train/<class>/* and test/<class>/*{images}",
    )  # fmt: skip
    add_folders(parser)
    add_data_options(parser)
    parser.add_argument(
        "--seed",
        type=at_least(0, 2**32 - 1),
        default=0,
        help="random seed for weights, angles and the choice of samples (default: 0)",
    )
    parser.add_argument(
        "--samples", type=at_least(1),
        help="maximum number of samples per split, balanced over the classes (default: all)",
    )  # fmt: skip
    return parser


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the training options; ``pytorch.experiments.recipes`` has their defaults."""
    parser.add_argument("--epochs", type=at_least(1), help="epochs of the unrotated model (default: the recipe's)")
    parser.add_argument(
        "--rotated-epochs", type=at_least(1), help="epochs of the rotated model (default: in proportion)"
    )
    parser.add_argument("--batch-size", type=at_least(1), help="samples per step (default: the recipe's)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="number format of training and evaluation (default: bf16 if the device supports it natively, else fp32)",
    )
    parser.add_argument(
        "--seeds", type=at_least(1, 1000), default=1,
        help="number of pairs to train, with consecutive seeds; reports mean ± standard deviation (default: 1)",
    )  # fmt: skip
    add_test_samples(parser)
    parser.add_argument(
        "--keep-epochs", type=at_least(1), nargs="?", const=1, metavar="N",
        help="keep the weights after every N-th epoch (without N: after each), for experiment_variance.py "
        "--while-training",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", action="store_true", help="train again; the old pair is kept until the new one is complete"
    )


def add_test_samples(parser: argparse.ArgumentParser) -> None:
    """Add the option that limits the test split alone."""
    parser.add_argument(
        "--test-samples", type=at_least(1), metavar="N",
        help="maximum number of test samples, balanced over the classes (default: as --samples)",
    )  # fmt: skip


def add_measuring_options(parser: argparse.ArgumentParser) -> None:
    """Add the measuring options."""
    parser.add_argument("--batch-size", type=at_least(1), default=256, help="samples per forward pass (default: 256)")
    parser.add_argument(
        "--aggregation", type=_aggregations, default=["mean"], metavar="{" + ",".join(AGGREGATIONS) + "}",
        help="how a feature map becomes a unit; several with commas, as mean,max, share one pass (default: mean)",
    )  # fmt: skip
    add_measure(parser)
    parser.add_argument(
        "--positions", type=_positions, default=POSITIONS, metavar="N",
        help="number of random positions of a feature map to turn back for the equivariance, or all "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--transformation", choices=TRANSFORMATIONS, default="rotation",
        help="transformation set; rotation-disc also masks images to their inscribed disc (default: rotation)",
    )  # fmt: skip
    parser.add_argument("--steps", type=at_least(2), default=16, help="number of transformations (default: 16)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32",
        help="number format of the forward passes; bf16 is faster if the processor supports it (default: fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=number_that(lambda number: 0 < number < float("inf"), "above 0"),
        help="stop when the 95 %% interval of every layer mean is within this half-width (default: all samples)",
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--while-training", action="store_true",
        help="measure the first pair before training and after the epochs of experiment_rotation.py --keep-epochs, too",
    )  # fmt: skip
    what.add_argument(
        "--control", choices=CONTROLS, action=_Once,
        help="measure a baseline instead: the network before training, or the trained networks with samples permuted "
        "across transformations, which gives a global mean NV near 1",
    )  # fmt: skip
    parser.add_argument(
        "--classes", nargs="*", metavar="NAME",
        help="classes that get statistics of their own, which take memory; without names, none (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=at_least(1, 1000), default=1,
        help="number of pairs to measure, with consecutive seeds, as experiment_rotation.py --seeds trained them "
        "(default: 1)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="measure again and replace existing results")


def add_measure(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses what is measured."""
    parser.add_argument(
        "--measure", choices=MEASURES, default="invariance",
        help="invariance; equivariance, of feature maps that are turned back; or both, in one pass "
        "(default: invariance)",
    )  # fmt: skip


def _check_measure_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that the measure would ignore."""
    if options.measure == "invariance" and options.positions != POSITIONS:
        parser.error("--positions is for the equivariance: add --measure both")
    if options.measure == "equivariance" and options.aggregation != ["mean"]:
        parser.error("--aggregation is for the invariance: use --measure both, or omit it")
    if options.measure == "equivariance" and options.classes is not None:
        parser.error("--classes is for the invariance: use --measure both, or omit it")
    if options.measure != "invariance" and options.while_training:
        parser.error("--while-training measures the invariance alone: run the script once with it, and once with "
                     "--measure")  # fmt: skip


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for networks from elsewhere; ``parse`` refuses them for the project's own models."""
    group = parser.add_argument_group("networks from elsewhere", f"Networks written as {FORMS}.")
    weights = group.add_mutually_exclusive_group()
    weights.add_argument("--weights", type=Path, metavar="FILE", help="state dict of torch.save or safetensors")
    weights.add_argument("--pretrained", action="store_true", help="use the weights that the library has")
    group.add_argument(
        "--image-size", type=at_least(1, 4096), metavar="PIXELS",
        help="height and width of the input (default: what the network's configuration says)",
    )  # fmt: skip
    for what in ("mean", "std"):
        group.add_argument(
            f"--{what}", type=_per_channel, metavar="R,G,B",
            help=f"{what} of pixels / 255, one per channel (default: what the network's configuration says)",
        )  # fmt: skip
    group.add_argument("--name", type=_label, help="name in files and figures (default: made from the network's)")


def _check_network_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse combinations of options that mean nothing."""
    elsewhere = is_library_name(options.model)
    given = [name for name in ("weights", "pretrained", "image_size", "mean", "std", "name") if getattr(options, name)]
    if given and not elsewhere:
        option = f"--{given[0].replace('_', '-')}"
        parser.error(f"{option} is for networks from elsewhere, as {FORMS}; {options.model} has a trained pair")
    if elsewhere and options.seeds > 1:
        parser.error("--seeds counts trained pairs; for a network from elsewhere, give --seed and --name each time")
    if elsewhere and options.while_training:
        parser.error("--while-training measures the epochs of a trained pair; a network from elsewhere has none")
    if elsewhere and options.control == RANDOM_WEIGHTS:
        parser.error("random weights are measured along with a network from elsewhere: omit --control")
    if options.pretrained and not can_be_pretrained(options.model):
        parser.error("--pretrained is for libraries: let the function in the file load its weights, or give --weights")
    if len(options.mean or ()) != len(options.std or ()):
        parser.error("--mean and --std go together, with one number per channel each")
    if options.std and min(options.std) <= 0:
        parser.error("--std must be above 0")


def _per_channel(text: str) -> tuple[float, ...]:
    parse_number = number_that(isfinite, "a finite number")
    return tuple(parse_number(part) for part in text.split(","))


def _label(name: str) -> str:
    if not re.fullmatch(rf"[0-9A-Za-z_-][0-9A-Za-z_.-]{{0,{LONGEST_NAME - 1}}}", name) or name in MODELS:
        raise argparse.ArgumentTypeError(
            f"{name!r}: use at most {LONGEST_NAME} letters, digits, - _ and ., and not the name of a model"
        )
    return name


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options for output folders."""
    parser.add_argument(
        "--results-dir", type=folder_argument, default=RESULTS_DIR,
        help="folder for trained models and measurements (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--plots-dir", type=folder_argument, default=PLOTS_DIR, help="folder for figures (default: %(default)s)"
    )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the data folder and the device."""
    parser.add_argument(
        "--data-dir", type=folder_argument, help="folder for downloads (default: data in the results folder)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda if available)")


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Parse, expand ``~`` in the folders, give ``--data-dir`` its default, and find the device."""
    options = parser.parse_args(arguments)
    try:
        options.results_dir = options.results_dir.expanduser()
        options.plots_dir = options.plots_dir.expanduser()
        if "data_dir" in options:
            options.data_dir = (options.data_dir or options.results_dir / "data").expanduser()
    except RuntimeError as error:
        parser.error(f"cannot expand ~ in the name of a folder: {error}")
    if "weights" in options:
        _check_network_options(parser, options)
    if "positions" in options:
        _check_measure_options(parser, options)
    try:
        if "device" in options:
            options.device = _device(options.device)
    except InputError as error:
        parser.error(f"argument --device: {error}")
    return options


def places(options: argparse.Namespace) -> list[str]:
    """Return the options for the folders and the device, without those that equal the defaults, to quote them."""
    usual = {
        "results_dir": RESULTS_DIR.expanduser(), "plots_dir": PLOTS_DIR,
        "data_dir": options.results_dir / "data", "device": _device("auto"),
    }  # fmt: skip
    changed = [name for name, default in usual.items() if getattr(options, name) != default]
    return [part for name in changed for part in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]


def check_writable(folder: Path) -> None:
    """Check that files can be written to a folder, which need not exist yet; leaves nothing behind.

    Call it before the work, so that the work is not lost.

    Raises:
        FileError: They cannot be written.
    """
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir():
            raise FileError(f"the folder {folder} cannot be made: {existing} is not a folder")
        with tempfile.TemporaryFile(dir=existing) as file:  # permissions say little about quotas and odd file systems
            file.write(b"0")
    except OSError as error:
        raise FileError(f"the folder {folder} cannot be written to: {error.strerror or error}") from error


def at_least(lowest: int, highest: int = HIGHEST) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``lowest`` to ``highest``."""

    def parse_number(text: str) -> int:
        try:
            number = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
        if not lowest <= number <= highest:
            bounds = f"at least {lowest}" if number < lowest and highest == HIGHEST else f"in {lowest} to {highest}"
            raise argparse.ArgumentTypeError(f"{number} must be {bounds}")
        return number

    return parse_number


def number_that(fits: Callable[[float], bool], bounds: str) -> Callable[[str], float]:
    """Return a parser of numbers within bounds, which ``bounds`` words for the error message."""

    def parse_number(text: str) -> float:
        try:
            number = float(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
        if not fits(number):
            raise argparse.ArgumentTypeError(f"{text} must be {bounds}")
        return number

    return parse_number


def _positions(text: str) -> int | None:
    """Return a number of positions; None: all."""
    return None if text == "all" else at_least(1)(text)


def _aggregations(names: str) -> list[str]:
    return _as_argument(aggregation_names, names)


def folder_argument(name: str) -> Path:
    """Check the name of a folder: an unset shell variable leaves it empty."""
    if not name:
        raise argparse.ArgumentTypeError("the folder's name is empty")
    return Path(name)


def model_argument(name: str) -> str:
    """Return the model that a name means."""
    return _as_argument(find_name, name, MODELS, "model")


def network_argument(name: str) -> str:
    """Return the model that a name means, or check the name of a network from elsewhere."""
    if not is_library_name(name):
        try:
            return model_argument(name)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}; or name one from elsewhere, as {FORMS}") from error
    _as_argument(check_form, name)
    return name


def dataset_argument(name: str) -> str:
    """Check that a name, or a folder, is a data set."""
    _as_argument(dataset_name, name)
    return name


def _as_argument(function: Callable[..., Any], *arguments: object) -> Any:
    try:
        return function(*arguments)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _device(name: str) -> "torch.device":
    import torch  # not above: --help and most wrong usage does without it

    cuda = torch.cuda.is_available()
    try:
        device = torch.device(("cuda" if cuda else "cpu") if name == "auto" else name)
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:  # torchrun: each its own
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    except RuntimeError as error:
        raise InputError(f"{name!r} is not a device: use cpu, cuda, cuda:1, ...") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"{name}: only cpu and cuda have the float64 that the measure needs")
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        raise InputError(f"{name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device
