"""What lies where in the results folder, and how it is written and read.

    models/<model>_<dataset>/{unrotated,rotated}.pt
    values/<model>_<dataset>_<transformation>_<aggregation>[_<control>].pickle

and in the folder of figures

    <model>_<dataset>/*.png

A file is written whole or not at all, says everything about itself, and carries the version of its format.
"""

import pickle
from pathlib import Path
from typing import Any

import torch

from pytorch import safe_pickle
from pytorch.errors import FileError
from pytorch.experiment import TrainedModel, VariancePair
from pytorch.whole_file import whole_file

MODEL_FORMAT = {"format": "variance-experiments model", "version": 1}
VALUES_FORMAT = {"format": "variance-experiments values", "version": 2}


def pair_name(model: str, dataset: str) -> str:
    """By what a pair of models is called in the names of files and folders."""
    return f"{model}_{dataset}"


def model_file(results_dir: Path, model: str, dataset: str, trained_on: str) -> Path:
    """Where a trained model is kept."""
    return results_dir / "models" / pair_name(model, dataset) / f"{trained_on}.pt"


def values_file(
    results_dir: Path, model: str, dataset: str, transformation: str, aggregation: str, control: str | None = None
) -> Path:
    """Where the measurements of a pair, or of a control, are kept."""
    parts = [pair_name(model, dataset), transformation, aggregation, *([control] if control else [])]
    return results_dir / "values" / f"{'_'.join(parts)}.pickle"


def values_files(results_dir: Path) -> list[Path]:
    """All measurements in a results folder, in the order of their names."""
    return sorted((results_dir / "values").glob("*.pickle"))


def save_model(path: Path, trained: TrainedModel) -> None:
    """Write a trained model."""
    with whole_file(path) as file:
        torch.save({**MODEL_FORMAT, "content": trained.to_dict()}, file)


def load_model(path: Path) -> TrainedModel:
    """Read a trained model; nothing in the file is executed.

    Raises:
        FileError: The file is none that ``save_model`` wrote.
        FileNotFoundError: There is none.
    """
    try:
        container = torch.load(path, map_location="cpu", weights_only=True)
        return TrainedModel.from_dict(_content(container, MODEL_FORMAT))
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:  # its text recommends to load the file unsafely
        raise _unreadable(path, "a trained model", ValueError("damaged, or more than weights")) from error
    except Exception as error:
        raise _unreadable(path, "a trained model", error) from error


def save_values(path: Path, pair: VariancePair) -> None:
    """Write the measurements of a pair."""
    with whole_file(path) as file:
        pickle.dump({**VALUES_FORMAT, "content": pair.to_dict()}, file, protocol=5)


def load_values(path: Path) -> VariancePair:
    """Read the measurements of a pair; nothing in the file is executed.

    Raises:
        FileError: The file is none that ``save_values`` wrote.
        FileNotFoundError: There is none.
    """
    try:
        with path.open("rb") as file:
            return VariancePair.from_dict(_content(safe_pickle.load(file), VALUES_FORMAT))
    except FileNotFoundError:
        raise
    except Exception as error:
        raise _unreadable(path, "a measurement", error) from error


def _content(container: Any, expected: dict[str, Any]) -> dict[str, Any]:
    found = {key: container[key] for key in expected}
    if found != expected:
        raise ValueError(f"its format is {found}, not {expected}")
    return container["content"]


def _unreadable(path: Path, what: str, error: Exception) -> FileError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return FileError(f"{path} cannot be read as {what} ({reason}); remove it or make it anew")
