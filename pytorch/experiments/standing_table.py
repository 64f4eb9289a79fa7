"""The matrix of what is to be reproduced, as text: one row per model, data set and seed."""

from collections.abc import Sequence

from pytorch.errors import one_line
from pytorch.experiments.reproduction import duration
from pytorch.experiments.standing import Combination, Measurement, PairStanding, Standing, Training
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS

HEADS = "", "seed", "unrotated model", "rotated model", "measured", "before training", "figures", "time left"

IN_THE_WAY = "!"
"""Mark of a cell with something that was not made as asked."""


def standing_lines(found: Sequence[tuple[Combination, Standing]], drawn: dict[str, str]) -> list[str]:
    """Write the matrix, then what is not as asked.

    Args:
        found: What is asked for, and how far it is.
        drawn: For each title of a combination, how many of its figures are drawn.
    """
    rows, notes = [HEADS], []
    for asked, standing in found:
        for index, pair in enumerate(standing.pairs):
            figures = drawn.get(asked.title, "-") if index == 0 else ""  # show all seeds together
            rows.append((asked.title if index == 0 else "", *_cells(pair, standing.left(pair), figures)))
            for how in dict.fromkeys(pair.differs.values()):
                names = ", ".join(name for name, each in pair.differs.items() if each == how)
                notes.append(f"{asked.title}, seed {pair.seed}, {names}: {how}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if notes:
        lines += ["", f"{IN_THE_WAY} is there, but not as asked; experiment_rotation.py or experiment_variance.py "
                  "--overwrite replaces it"]  # fmt: skip
        lines += [f"  {one_line(note)}" for note in notes]
    return lines


def _cells(pair: PairStanding, left: float | None, figures: str) -> tuple[str, ...]:
    trainings = (_training(pair.trainings[trained_on]) for trained_on in PAIR)
    measurements = (_measurement(pair.measurements[control]) for control in (None, RANDOM_WEIGHTS))
    return str(pair.seed), *trainings, *measurements, figures, "unknown" if left is None else duration(left)


def _training(training: Training) -> str:
    text = f"{training.done} of {training.epochs} epochs"
    if training.done == training.epochs and not training.complete:
        text += ", not evaluated"
    return text + f" {IN_THE_WAY}" * bool(training.differs)


def _measurement(measurement: Measurement) -> str:
    return (", ".join(measurement.done) or "-") + f" {IN_THE_WAY}" * bool(measurement.differs)
