"""The steps to the tables of the paper, and which of them are done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytorch.experiments.published import AGGREGATIONS
from pytorch.experiments.standing import STEPS, Combination, Standing
from pytorch.experiments.vocabulary import RANDOM_WEIGHTS

TRAIN, MEASURE, DRAW = "experiment_rotation", "experiment_variance", "plot_variances_models"
"""The scripts."""


@dataclass(frozen=True)
class Step:
    """One call of a script.

    Attributes:
        script: Name of the script, without ``.py``.
        title: Description for people.
        arguments: Arguments of the script.
        is_done: Whether the results exist.
        needs: Title of the step that must come first.
        combination: Model and data set; empty: all of them.
        epochs: Epochs done and asked for, of all models of the step; None: it is no training.
        seconds_left: Seconds of the epochs or measurements left; None: unknown.
    """

    script: str
    title: str
    arguments: list[str]
    is_done: bool = False
    needs: str | None = None
    combination: str = ""
    epochs: tuple[int, int] | None = None
    seconds_left: float | None = 0.0


def steps_of(asked: Combination, standing: Standing, options: Sequence[str] = ()) -> list[Step]:
    """List the steps of a model on a data set: train, measure, and measure the control.

    Args:
        asked: What is asked for.
        standing: How far it is.
        options: Options of all scripts: folders and device.
    """
    common = [asked.model, asked.dataset, *options]
    if asked.seeds > 1:
        common += ["--seeds", str(asked.seeds)]
    measure = [*common, *_option("--samples", asked.test_samples or asked.samples)]
    if asked.measure != "invariance":
        measure += ["--measure", asked.measure]
    if asked.measure != "equivariance":
        measure += ["--aggregation", ",".join(AGGREGATIONS)]
    measure += ["--steps", str(STEPS), "--precision", asked.precision]
    samples = [*_option("--samples", asked.samples), *_option("--test-samples", asked.test_samples)]
    pairs, what = standing.pairs, asked.title
    trainings = [training for pair in pairs for training in pair.trainings.values()]
    train = Step(
        TRAIN,
        f"train {what}",
        [*common, *samples, *_epoch_options(asked)],
        all(pair.is_trained for pair in pairs),
        combination=what,
        epochs=(sum(training.done for training in trainings), sum(training.epochs for training in trainings)),
        seconds_left=standing.training_left(pairs),
    )
    measurements = [
        Step(
            MEASURE,
            f"measure {what}{' before its training' if control else ''}",
            [*measure, *_option("--control", control)],
            all(pair.measurements[control].complete for pair in pairs),
            train.title,
            what,
            seconds_left=standing.measuring_left(control, pairs),
        )
        for control in (None, RANDOM_WEIGHTS)
    ]
    return [train, *measurements]


def time_left(steps: Iterable[Step]) -> str:
    """Say how long steps will take, as far as it is known; evaluation and drawing do not count.

    >>> known, unknown = (Step(TRAIN, "", [], combination=str(left), seconds_left=left) for left in (60.0, None))
    >>> time_left([known]), time_left([known, unknown]), time_left([unknown])
    ('about 1 min', 'at least 1 min, unknown for 1 of 2 combinations', 'unknown')
    """
    left = [step for step in steps if step.combination and not step.is_done]
    if not left:
        return "none"
    unknown = {step.combination for step in left if step.seconds_left is None}
    known = [step.seconds_left for step in left if step.seconds_left is not None]
    if not unknown:
        return f"about {duration(sum(known))}"
    count = f"unknown for {len(unknown)} of {len({step.combination for step in left})} combinations"
    return f"at least {duration(sum(known))}, {count}" if known else "unknown"


def duration(seconds: float) -> str:
    """Write a duration with one or two units.

    >>> duration(0.4), duration(59.6), duration(3601), duration(7800)
    ('0 s', '1 min', '1 h', '2 h 10 min')
    """
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{minutes} min"] if minutes else [])])


def _epoch_options(asked: Combination) -> list[str]:
    if asked.schedule == 1:
        return []
    return ["--epochs", str(asked.recipe.epochs), "--rotated-epochs", str(asked.recipe.rotated_epochs)]


def _option(name: str, value: int | str | None) -> list[str]:
    return [] if value is None else [name, str(value)]
