"""The command line that the scripts share: options, and checks of what they name."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from pytorch.datasets import dataset_name
from pytorch.errors import FileError, InputError, one_line
from pytorch.experiments.vocabulary import CONTROLS
from pytorch.models import MODELS
from pytorch.names import find_name
from pytorch.transformations import TRANSFORMATIONS
from pytorch.variance.precision import PRECISIONS
from pytorch.variance.recording.aggregation import AGGREGATIONS, aggregation_names

RESULTS_DIR, PLOTS_DIR = Path("~/variance_results"), Path("plots")

HIGHEST = 2**31 - 1
"""Of whole numbers."""

USAGE = 2
"""Exit code of a wrong command line."""


class Parser(argparse.ArgumentParser):
    """A parser that tells a wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        self.exit(USAGE, f"{self.prog}: error: {one_line(message)} (--help lists the options)\n")


class _Once(argparse.Action):
    """Stores the value of an option that has one alone, where two values could be taken for two measurements."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        """Take the value.

        Raises:
            argparse.ArgumentError: There is one already.
        """
        if getattr(namespace, self.dest) not in (None, value):
            raise argparse.ArgumentError(self, "takes one value: run the script once for each")
        setattr(namespace, self.dest, value)


def experiment_parser(description: str) -> Parser:
    """Build a parser with the arguments of an experiment on one model and one data set."""
    parser = Parser(description=description)
    parser.add_argument("model", type=model_argument, help=f"{', '.join(MODELS)} (letter case, - and _ do not matter)")
    parser.add_argument(
        "dataset", type=dataset_argument,
        help="digits, mnist, fashion_mnist, cifar10, or a folder with train/<class>/* and test/<class>/*",
    )  # fmt: skip
    add_folders(parser)
    add_data_options(parser)
    parser.add_argument(
        "--seed",
        type=at_least(0, 2**32 - 1),
        default=0,
        help="of weights, angles and the choice of samples (default: 0)",
    )
    parser.add_argument(
        "--samples", type=at_least(1),
        help="at most so many samples of each split, equally many of each class (default: all)",
    )  # fmt: skip
    return parser


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training; their defaults stand in ``pytorch.experiments.recipes``."""
    parser.add_argument("--epochs", type=at_least(1), help="of the unrotated model (default: the recipe's)")
    parser.add_argument("--rotated-epochs", type=at_least(1), help="of the rotated model (default: in proportion)")
    parser.add_argument("--batch-size", type=at_least(1), help="samples per step (default: the recipe's)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of training and evaluation (default: bf16 where the device has it built in, else fp32)",
    )
    parser.add_argument(
        "--seeds", type=at_least(1, 1000), default=1,
        help="train so many pairs, of consecutive seeds, and report mean ± standard deviation (default: 1)",
    )  # fmt: skip
    add_test_samples(parser)
    parser.add_argument("--overwrite", action="store_true", help="train anew; the old pair stays until then")


def add_test_samples(parser: argparse.ArgumentParser) -> None:
    """Add the option for how much of the test split is used, where all of the training split is."""
    parser.add_argument(
        "--test-samples", type=at_least(1), metavar="N",
        help="at most so many of the test split, equally many of each class (default: as --samples)",
    )  # fmt: skip


def add_measuring_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a measurement."""
    parser.add_argument("--batch-size", type=at_least(1), default=256, help="samples per forward pass (default: 256)")
    parser.add_argument(
        "--aggregation", type=_aggregations, default=["mean"], metavar="{" + ",".join(AGGREGATIONS) + "}",
        help="how a feature map becomes a unit; several, as mean,max, take one pass (default: mean)",
    )  # fmt: skip
    parser.add_argument(
        "--transformation", choices=TRANSFORMATIONS, default="rotation",
        help="what to measure under; rotation-disc masks images to their inscribed disc (default: rotation)",
    )  # fmt: skip
    parser.add_argument("--steps", type=at_least(2), default=16, help="number of transformations (default: 16)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32",
        help="of the forward passes; bf16 is faster where the processor has it (default: fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=number_that(lambda number: 0 < number < float("inf"), "above 0"),
        help="stop as soon as every layer mean is known to this half-width, 95 %% (default: use all samples)",
    )  # fmt: skip
    parser.add_argument(
        "--control", choices=CONTROLS, action=_Once,
        help="measure, to compare with: the network before its training, or with samples permuted across "
        "transformations, where the global mean of NV comes out near 1",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=at_least(1, 1000), default=1,
        help="measure so many pairs, of consecutive seeds, that experiment_rotation.py --seeds trained (default: 1)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="measure anew, and replace what is there")


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options for where files go."""
    parser.add_argument(
        "--results-dir", type=folder_argument, default=RESULTS_DIR,
        help="where trained models and measurements are kept (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--plots-dir", type=folder_argument, default=PLOTS_DIR, help="for figures (default: %(default)s)"
    )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for where data sets are kept, and where to compute on them."""
    parser.add_argument(
        "--data-dir", type=folder_argument, help="where downloads are kept (default: data in the results folder)"
    )
    parser.add_argument(
        "--device", type=_device, default="auto", help="cpu, cuda, cuda:1, ... (default: cuda if there)"
    )


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Parse, expand ``~`` in the folders, and give ``--data-dir`` its default."""
    options = parser.parse_args(arguments)
    try:
        options.results_dir = options.results_dir.expanduser()
        options.plots_dir = options.plots_dir.expanduser()
        if "data_dir" in options:
            options.data_dir = (options.data_dir or options.results_dir / "data").expanduser()
    except RuntimeError as error:
        parser.error(f"a folder begins with ~, but: {error}")
    return options


def check_writable(folder: Path) -> None:
    """Check that files can be written into a folder, which need not exist yet; nothing is left behind.

    Raises:
        FileError: They cannot; found out before the work rather than after.
    """
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir():
            raise FileError(f"the folder {folder} cannot be made: {existing} is no folder")
        with tempfile.TemporaryFile(dir=existing) as file:  # permissions tell little of quotas and odd file systems
            file.write(b"0")
    except OSError as error:
        raise FileError(f"the folder {folder} cannot be written to: {error.strerror or error}") from error


def at_least(lowest: int, highest: int = HIGHEST) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``lowest`` to ``highest``."""

    def parse_number(text: str) -> int:
        try:
            number = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error
        if not lowest <= number <= highest:
            bounds = f"at least {lowest}" if number < lowest and highest == HIGHEST else f"in {lowest} to {highest}"
            raise argparse.ArgumentTypeError(f"{number} must be {bounds}")
        return number

    return parse_number


def number_that(fits: Callable[[float], bool], bounds: str) -> Callable[[str], float]:
    """Return a parser of numbers that fit into bounds, which are told in words."""

    def parse_number(text: str) -> float:
        try:
            number = float(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
        if not fits(number):
            raise argparse.ArgumentTypeError(f"{text} must be {bounds}")
        return number

    return parse_number


def _aggregations(names: str) -> list[str]:
    return _as_argument(aggregation_names, names)


def folder_argument(name: str) -> Path:
    """Take the name of a folder, which an unset variable of a shell leaves empty."""
    if not name:
        raise argparse.ArgumentTypeError("an empty name is no folder")
    return Path(name)


def model_argument(name: str) -> str:
    """Find the model that a name means."""
    return _as_argument(find_name, name, MODELS, "model")


def dataset_argument(name: str) -> str:
    """Check that a name or a folder means a data set."""
    _as_argument(dataset_name, name)
    return name


def _as_argument(function: Callable[..., Any], *arguments: object) -> Any:
    try:
        return function(*arguments)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _device(name: str) -> torch.device:
    cuda = torch.cuda.is_available()
    try:
        device = torch.device(("cuda" if cuda else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{name!r} is no device: cpu, cuda, cuda:1, ...") from error
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{name}: only cpu and cuda have the float64 that the measure needs")
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        raise argparse.ArgumentTypeError(f"{name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device
