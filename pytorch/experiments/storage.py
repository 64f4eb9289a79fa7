"""The layout of the results folder, and its files.

    models/<model>_<dataset>/{unrotated,rotated}.pt, with further seeds in seed<n>/
    models/<model>_<dataset>/{unrotated,rotated}.epochs/<epoch>.checkpoint, the weights after kept epochs
    values/<model>_<dataset>_<transformation>_<aggregation>[_<control>].pickle, with further seeds in seed<n>/; for
        equivariance, the aggregation is same-equivariance
    values/while-training/<model>_<dataset>_<transformation>_<aggregation>.pickle

The folder of figures contains

    <model>_<dataset>/*.png, <dataset>_*.png, results.{csv,csv.gz,md,tex}, index.html, and figures.json, which lists
    figures

An unfinished training has a .checkpoint, and what is to replace a model or its kept epochs ends in .new. Each file is
written whole or not at all, describes itself completely, and is sealed with the version of its format and a checksum.
"""

from pathlib import Path
from typing import Any

from pytorch.errors import FileError
from pytorch.experiments.content import check_measured, check_series, check_trained
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.variance_series import VarianceSeries
from pytorch.files import safe_archive, safe_pickle
from pytorch.files.checked_fields import check_fields
from pytorch.files.container import load, save
from pytorch.files.sealed_file import Format

MODEL_FORMAT = Format("variance-experiments model", version=4)
CHECKPOINT_FORMAT = Format("variance-experiments checkpoint", version=3)
VALUES_FORMAT = Format("variance-experiments values", version=6, oldest=5)
SERIES_FORMAT = Format("variance-experiments series", version=1)


def pair_name(model: str, dataset: str) -> str:
    """Return the name of a pair of models in file and folder names."""
    return f"{model}_{dataset}"


def model_folder(results_dir: Path, model: str, dataset: str, further_seed: int | None = None) -> Path:
    """Return the folder of a pair of models; that of a further seed is within the folder of the first."""
    return _of_seed(results_dir / "models" / pair_name(model, dataset), further_seed)


def model_file(results_dir: Path, model: str, dataset: str, trained_on: str, further_seed: int | None = None) -> Path:
    """Return the path of a trained model."""
    return model_folder(results_dir, model, dataset, further_seed) / f"{trained_on}.pt"


def epochs_folder(model: Path) -> Path:
    """Return the folder of the kept epochs of a trained model, given the path of the model."""
    return model.with_suffix(".epochs" if model.suffix == ".pt" else f".epochs{model.suffix}")


def epoch_file(model: Path, epoch: int) -> Path:
    """Return the path of the weights of a model after an epoch."""
    return epochs_folder(model) / f"{epoch}.checkpoint"


def values_file(
    results_dir: Path,
    model: str,
    dataset: str,
    transformation: str,
    aggregation: str,
    control: str | None = None,
    further_seed: int | None = None,
) -> Path:
    """Return the path of the measurements of a pair or of a control."""
    parts = [pair_name(model, dataset), transformation, aggregation, *([control] if control else [])]
    return _of_seed(values_folder(results_dir), further_seed) / f"{'_'.join(parts)}.pickle"


def series_file(results_dir: Path, model: str, dataset: str, transformation: str, aggregation: str) -> Path:
    """Return the path of the measurements of a pair while training."""
    return series_folder(results_dir) / values_file(results_dir, model, dataset, transformation, aggregation).name


def _of_seed(folder: Path, further_seed: int | None) -> Path:
    return folder if further_seed is None else folder / f"seed{further_seed}"


def seed_folders(folder: Path) -> list[Path]:
    """List the folders of further seeds within a folder of measurements or models.

    Raises:
        FileError: The folder cannot be read.
    """
    return [path for path in _listed(folder) if path.name.startswith("seed") and path.is_dir()]


def values_files(folder: Path) -> list[Path]:
    """List the measurements in a folder, sorted by name.

    Raises:
        FileError: The folder cannot be read.
    """
    return [path for path in _listed(folder) if path.suffix == ".pickle"]


def values_folder(results_dir: Path) -> Path:
    """Return the folder of measurements."""
    return results_dir / "values"


def series_folder(results_dir: Path) -> Path:
    """Return the folder of measurements while training."""
    return values_folder(results_dir) / "while-training"


def model_folders(results_dir: Path) -> list[Path]:
    """List the folders of all pairs of models, sorted by name.

    Raises:
        FileError: Their parent folder cannot be read.
    """
    return [path for path in _listed(results_dir / "models") if path.is_dir()]


def _listed(folder: Path) -> list[Path]:
    """List a folder, which need not exist, sorted by name and without hidden files."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(f"the folder {folder} cannot be read: {error.strerror or error}") from error


def save_model(path: Path, trained: TrainedModel) -> None:
    """Write a trained model."""
    save(path, MODEL_FORMAT, trained.to_dict(), safe_archive.dumps)


def load_model(path: Path) -> TrainedModel:
    """Read a trained model; nothing in the file is executed.

    Raises:
        FileError: ``save_model`` did not write the file, or it is damaged.
        FileNotFoundError: There is no file.
    """
    return load(path, MODEL_FORMAT, "a trained model", safe_archive.loads, TrainedModel.from_dict, check_trained)


def save_checkpoint(path: Path, protocol: Protocol, state: dict[str, Any]) -> None:
    """Write the protocol and the state of an unfinished training."""
    save(path, CHECKPOINT_FORMAT, {"settings": protocol.settings, "state": state}, safe_archive.dumps)


def load_checkpoint(path: Path) -> tuple[Protocol, dict[str, Any]]:
    """Read the protocol and the state of an unfinished training; nothing in the file is executed.

    Raises:
        FileError: ``save_checkpoint`` did not write the file, or it is damaged.
        FileNotFoundError: There is no file.
    """

    def both(content: dict[str, Any]) -> tuple[Protocol, dict[str, Any]]:
        protocol, state = Protocol(content["settings"]), content["state"]
        check_fields(protocol)
        if not isinstance(state, dict):
            raise TypeError("its state is not a dict")
        return protocol, state

    return load(path, CHECKPOINT_FORMAT, "an unfinished training", safe_archive.loads, both)


def save_values(path: Path, pair: VariancePair) -> None:
    """Write the measurements of a pair or of a control.

    Raises:
        ValueError: ``load_values`` would refuse them.
    """
    save(path, VALUES_FORMAT, check_measured(pair).to_dict(), safe_pickle.dumps)


def load_values(path: Path) -> VariancePair:
    """Read the measurements of a pair or of a control; nothing in the file is executed.

    Raises:
        FileError: ``save_values`` did not write the file, or it is damaged.
        FileNotFoundError: There is no file.
    """
    return load(path, VALUES_FORMAT, "a measurement", safe_pickle.loads, VariancePair.from_dict, check_measured)


def save_series(path: Path, series: VarianceSeries) -> None:
    """Write the measurements of a pair while training.

    Raises:
        ValueError: ``load_series`` would refuse them.
    """
    save(path, SERIES_FORMAT, check_series(series).to_dict(), safe_pickle.dumps)


def load_series(path: Path) -> VarianceSeries:
    """Read the measurements of a pair while training; nothing in the file is executed.

    Raises:
        FileError: ``save_series`` did not write the file, or it is damaged.
        FileNotFoundError: There is no file.
    """
    return load(
        path, SERIES_FORMAT, "a measurement while training", safe_pickle.loads, VarianceSeries.from_dict, check_series
    )
