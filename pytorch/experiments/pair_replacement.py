"""Replacement of old pairs by new ones: all of them or none, even if a kill interrupts it."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pytorch.errors import FileError, InputError
from pytorch.experiments.pair_training import Pair, PairTraining
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.torchrun import from_first
from pytorch.experiments.vocabulary import PAIR
from pytorch.files.whole_file import whole_file


def run_pairs(trainings: Sequence[PairTraining]) -> list[Pair]:
    """Run the trainings of one model on one data set; new pairs replace old ones once all are complete.

    A kill may come between two of the renames. So a mark lists them first, and the next run that finds it finishes
    them. The mark stays until ``settle`` is called, and shows that the ``overwrite`` is done.

    Args:
        trainings: One training for each seed; all their folders are within the folder of the first.
    """
    folder, overwrite = trainings[0].folder, trainings[0].overwrite
    precision = trainings[0].decided().precision
    trainings = [replace(training, precision=precision) for training in trainings]
    if _mark(folder).exists():
        _replace_old(folder)
        if overwrite and all(_is_done(training) for training in trainings):
            trainings = [replace(training, overwrite=False) for training in trainings]
            overwrite = False
        else:
            settle(folder)
    pairs = [training.run() for training in trainings]
    from_first(lambda: None)
    if overwrite:
        with whole_file(_mark(folder)) as file:
            file.write(json.dumps([str(training.folder.relative_to(folder)) for training in trainings]).encode())
        _replace_old(folder)
        trainings[0].say(f"the new models are in place, {folder}")
    return pairs


def take_part(trainings: Sequence[PairTraining]) -> None:
    """Take part in all trainings of ``run_pairs`` on rank 0, which reads and writes all files.

    Raises:
        InputError: This process has other data or versions.
        RankError: Another process has stopped.
    """
    by_seed = {training.seed: training for training in trainings}
    while (begun := from_first(lambda: None)) is not None:
        seed, trained_on, settings, state = begun
        by_seed[seed].take_part(trained_on, Protocol(settings), state)


def check_settled(folder: Path) -> None:
    """Check that the two models of a folder belong together.

    Raises:
        FileError: A replacement was interrupted.
    """
    if _mark(folder).exists():
        raise FileError(f"new models were being put in place, {folder}: run that experiment_rotation.py once more")


def settle(folder: Path) -> None:
    """Remove the mark of ``run_pairs``: from now on, overwriting again means training again."""
    _mark(folder).unlink(missing_ok=True)


def _mark(folder: Path) -> Path:
    return folder / "complete"


def _replace_old(folder: Path) -> None:
    """Replace the old models of all pairs that the mark lists by the new ones.

    Raises:
        FileError: The mark cannot be read.
    """
    try:
        names = json.loads(_mark(folder).read_bytes())
        places = [folder / Path(name).name for name in names]
    except (ValueError, TypeError, RecursionError) as error:
        raise FileError(f"{_mark(folder)} cannot be read: remove it") from error
    for place in places:
        for new in place.glob("*.new"):
            if new.is_dir():  # kept epochs, or an empty folder if none are kept
                shutil.rmtree(new.with_suffix(""), ignore_errors=True)
                new.replace(new.with_suffix(""))
                with suppress(OSError):
                    new.with_suffix("").rmdir()
            else:
                new.replace(new.with_suffix(".pt"))


def _is_done(training: PairTraining) -> bool:
    """Whether a pair that was to be overwritten already has been."""
    try:
        in_place = replace(training, overwrite=False, say=lambda line: None).decided()
        return all(in_place.kept(trained_on) for trained_on in PAIR)
    except (InputError, FileError):
        return False
