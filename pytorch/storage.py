"""What lies where in the results folder, and how it is written and read.

    models/<model>_<dataset>/{unrotated,rotated}.pt, and of further seeds in seed<n>/
    values/<model>_<dataset>_<transformation>_<aggregation>[_<control>].pickle

and in the folder of figures

    <model>_<dataset>/*.png, <dataset>_*.png, results.{csv,md,tex}, index.html, and figures.json, which lists figures

A model under way has a .checkpoint beside it, and one that waits to replace another is called .new. A file is written
whole or not at all, says everything about itself, and carries the version of its format.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from pytorch import safe_pickle
from pytorch.errors import FileError
from pytorch.experiment import TrainedModel, VariancePair
from pytorch.whole_file import whole_file

MODEL_FORMAT = {"format": "variance-experiments model", "version": 2}
CHECKPOINT_FORMAT = {"format": "variance-experiments checkpoint", "version": 1}
VALUES_FORMAT = {"format": "variance-experiments values", "version": 3}

Content = TypeVar("Content")


def pair_name(model: str, dataset: str) -> str:
    """By what a pair of models is called in the names of files and folders."""
    return f"{model}_{dataset}"


def model_folder(results_dir: Path, model: str, dataset: str) -> Path:
    """Where the models of a pair are kept."""
    return results_dir / "models" / pair_name(model, dataset)


def model_file(results_dir: Path, model: str, dataset: str, trained_on: str) -> Path:
    """Where a trained model is kept."""
    return model_folder(results_dir, model, dataset) / f"{trained_on}.pt"


def values_file(
    results_dir: Path, model: str, dataset: str, transformation: str, aggregation: str, control: str | None = None
) -> Path:
    """Where the measurements of a pair, or of a control, are kept."""
    parts = [pair_name(model, dataset), transformation, aggregation, *([control] if control else [])]
    return results_dir / "values" / f"{'_'.join(parts)}.pickle"


def values_files(results_dir: Path) -> list[Path]:
    """All measurements in a results folder, in the order of their names."""
    return sorted((results_dir / "values").glob("*.pickle"))


def model_folders(results_dir: Path) -> list[Path]:
    """The folders of all pairs of models, in the order of their names."""
    return sorted(path for path in (results_dir / "models").glob("*") if path.is_dir())


def save_model(path: Path, trained: TrainedModel) -> None:
    """Write a trained model."""
    _save_tensors(path, MODEL_FORMAT, trained.to_dict())


def load_model(path: Path) -> TrainedModel:
    """Read a trained model; nothing in the file is executed.

    Raises:
        FileError: The file is none that ``save_model`` wrote.
        FileNotFoundError: There is none.
    """
    return _load_tensors(path, MODEL_FORMAT, "a trained model", TrainedModel.from_dict)


def save_checkpoint(path: Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a training that is under way: what its weights follow from, and its state."""
    _save_tensors(path, CHECKPOINT_FORMAT, {"settings": settings, "state": state})


def load_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what ``save_checkpoint`` wrote; nothing in the file is executed.

    Raises:
        FileError: The file is none of these.
        FileNotFoundError: There is none.
    """

    def both(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return content["settings"], content["state"]

    return _load_tensors(path, CHECKPOINT_FORMAT, "a training under way", both)


def _save_tensors(path: Path, form: dict[str, Any], content: dict[str, Any]) -> None:
    buffer = io.BytesIO()  # torch.save hides why a file could not be written
    torch.save({**form, "content": content}, buffer)
    with whole_file(path) as file:
        file.write(buffer.getbuffer())


def _load_tensors(
    path: Path, expected: dict[str, Any], what: str, rebuild: Callable[[dict[str, Any]], Content]
) -> Content:
    try:
        container = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # whose text is long, and recommends to load the file unsafely
        raise _unreadable(path, what, ValueError("damaged, or more than tensors")) from error
    try:
        return rebuild(_content(container, expected))
    except Exception as error:
        raise _unreadable(path, what, error) from error


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
