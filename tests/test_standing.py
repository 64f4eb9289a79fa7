"""How far the reproduction is: what counts as done, what is in the way, and the time left."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from builders import complete_pair, equivariance, result, trained_model

from pytorch.experiments.protocol import Protocol
from pytorch.experiments.provenance import versions
from pytorch.experiments.reproduction import duration, steps_of, time_left
from pytorch.experiments.standing import Combination
from pytorch.experiments.standing_table import standing_lines
from pytorch.experiments.storage import model_file, save_checkpoint, save_model, save_values, values_file
from pytorch.experiments.trained_model import weights_digest
from pytorch.experiments.training import Epoch
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS, ROTATED, UNTRAINED

HERE = "this machine"


@pytest.fixture
def asked(tmp_path):
    """Two pairs of simple_conv on digits: 2 and 5 epochs."""
    return Combination("simple_conv", "digits", tmp_path, seeds=2, schedule=0.2, machine=HERE)


def model(asked, trained_on, seed=0, seconds=1.0, **changes):
    """A model that was trained as asked, apart from the changes."""
    epochs = asked.recipe.epochs_of(rotated=trained_on == ROTATED)
    history = [Epoch(1.0, 0.5, seconds)] * epochs
    made = {"trained_on": trained_on, "recipe": asked.recipe, "seed": seed, "history": history, "machine": HERE}
    return replace(trained_model(), **made | changes)


def path_of(asked, trained_on, seed=0):
    path = model_file(asked.results_dir, "simple_conv", "digits", trained_on, seed or None)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def store(asked, trained_on, seed=0, **changes):
    trained = replace(model(asked, trained_on, seed), **changes)
    save_model(path_of(asked, trained_on, seed), trained)
    return trained


def store_pair(asked, seed=0, seconds=1.0, **changes):
    pair = {trained_on: replace(model(asked, trained_on, seed, seconds), **changes) for trained_on in PAIR}
    for trained_on, trained in pair.items():
        save_model(path_of(asked, trained_on, seed), trained)
    return pair


def store_checkpoint(asked, trained_on, seconds, seed=0, settings=None, **changes):
    """An unfinished training with epochs of these seconds."""
    protocol = model(asked, trained_on, seed, **changes).protocol
    protocol |= {"versions": versions(), "--keep-epochs": None, **(settings or {})}
    state = {"history": [asdict(Epoch(1.0, 0.5, each)) for each in seconds]}
    save_checkpoint(path_of(asked, trained_on, seed).with_suffix(".checkpoint"), protocol, state)


def measured(models, control=None, **changes):
    """Measurements of models, or before their training, with 4 samples as these were evaluated with."""
    weights = {name: weights_digest(trained.weights) for name, trained in models.items()}
    if control:
        weights = {UNTRAINED: weights_digest(models["unrotated"].network(trained=False).state_dict())}
    values = {"samples": 4, "samples_offered": 4, "transformations": [str(turn) for turn in range(16)]}
    values |= changes.pop("values", {})
    pair = replace(
        complete_pair(), control=control, weights=weights, machine=HERE, accuracy={}, angle_curves={},
        results={name: result(**values) for name in weights},
        training={name: {"seed": 0} for name in weights},
    )  # fmt: skip
    return replace(pair, **changes)


def store_values(asked, models, aggregation, control=None, seed=0, **changes):
    pair = measured(models, control, values={"aggregation": aggregation, **changes.pop("values", {})}, **changes)
    path = values_file(asked.results_dir, "simple_conv", "digits", "rotation", aggregation, control, seed or None)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_values(path, pair)


def store_equivariance(asked, models, control, **changes):
    pair = measured(models, control)
    first = pair.any_result
    how = {name: getattr(first, name) for name in ("samples", "samples_offered", "transformations")}
    pair = replace(pair, results={name: equivariance(**how, **changes) for name in pair.results})
    save_values(values_file(asked.results_dir, "simple_conv", "digits", "rotation", pair.aggregation, control), pair)


def done(asked):
    return [step.is_done for step in steps_of(asked, asked.standing())]


def training(asked, trained_on, seed=0):
    return asked.standing().pairs[seed].trainings[trained_on]


def test_of_nothing_everything_is_to_do_and_unknown(asked):
    steps = steps_of(asked, asked.standing())
    assert [step.is_done for step in steps] == [False] * 3
    assert steps[0].epochs == (0, 14)
    assert time_left(steps) == "unknown"
    assert list(asked.results_dir.iterdir()) == []


def test_all_of_it_is_done(asked):
    for seed in (0, 1):
        models = store_pair(asked, seed)
        for aggregation in ("mean", "max"):
            for control in (None, RANDOM_WEIGHTS):
                store_values(asked, models, aggregation, control, seed)
    assert done(asked) == [True] * 3
    assert time_left(steps_of(asked, asked.standing())) == "none"
    values_file(asked.results_dir, "simple_conv", "digits", "rotation", "max", RANDOM_WEIGHTS, 1).unlink()
    assert done(asked) == [True, True, False]
    path_of(asked, "rotated", 1).unlink()
    assert done(asked) == [False] * 3


@pytest.mark.parametrize(
    ("measure", "kinds", "options"),
    [
        ("both", ("mean", "max", "same-equivariance"), ["--measure", "both", "--aggregation", "mean,max"]),
        ("equivariance", ("same-equivariance",), ["--measure", "equivariance"]),
    ],
)
def test_equivariance_that_is_asked_for_must_be_there(asked, measure, kinds, options):
    asked = replace(asked, seeds=1, measure=measure)
    models = store_pair(asked)
    for control in (None, RANDOM_WEIGHTS):
        for aggregation in ("mean", "max"):
            store_values(asked, models, aggregation, control)
    assert done(asked) == [True, False, False]
    step = steps_of(asked, asked.standing())[1]
    assert step.arguments == [*("simple_conv", "digits"), *options, "--steps", "16", "--precision", "fp32"]
    every = np.argwhere(np.ones((8, 9)))
    read = {"map_sizes": [[8, 9], []], "positions_kept": [72, 1]}
    for control in (None, RANDOM_WEIGHTS):
        store_equivariance(asked, models, control, **read, positions=[every[:64], every[:0]])
    assert done(asked) == [True] * 3
    assert asked.standing().pairs[0].measurements[None].done == kinds
    assert done(replace(asked, measure="invariance")) == [True] * 3
    store_equivariance(asked, models, None, **read, positions=[every, every[:0]])
    assert done(asked) == [True, False, True]
    assert asked.standing().pairs[0].differs == {"same-equivariance": "positions 72, not 64"}


def test_the_time_left_is_that_of_like_epochs_and_measurements(asked):
    """By hand: epochs of 10 s and of 20 s, measurements of 100 s and of 40 s."""
    models = store_pair(asked, seconds=10.0)
    store_checkpoint(asked, "rotated", [20.0] * 2, seed=1)
    store_values(asked, models, "mean", seconds=100.0)
    store_values(asked, models, "mean", RANDOM_WEIGHTS, seconds=40.0)
    standing = asked.standing()
    assert [(each.done, each.epochs) for each in standing.pairs[1].trainings.values()] == [(0, 2), (2, 5)]
    # The median of five 10 s and two 20 s is 10 s.
    assert standing.left(standing.pairs[1]) == 2 * 10 + 3 * 10 + 100 + 40
    assert standing.left(standing.pairs[0]) == 100 + 40  # max is missing
    steps = steps_of(asked, standing)
    assert [step.seconds_left for step in steps] == [2 * 10 + 3 * 10, 200, 80]
    assert time_left(steps) == "about 6 min"
    assert steps[0].epochs == (2 + 5 + 2, 14)


def test_of_another_machine_nothing_is_known(asked):
    models = store_pair(asked, machine="a GPU")
    store_values(asked, models, "mean", machine="a GPU")
    standing = asked.standing()
    assert [standing.left(pair) for pair in standing.pairs] == [None, None]
    assert [step.seconds_left for step in steps_of(asked, standing)] == [None] * 3
    assert standing.pairs[0].is_trained


def test_an_epoch_of_one_model_says_nothing_of_the_other(asked):
    store_checkpoint(asked, "unrotated", [5.0])
    assert asked.standing().training_left(asked.standing().pairs) is None


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"seed": 3}, "seed 3, not 0"),
        ({"fingerprint": "other"}, "fingerprint of the data other, not "),
        ({"samples_seed": 0}, "samples 10, not all"),
        ({"test_limit": 4}, "test samples 4, not all"),
        ({"trained_on": "rotated"}, "epochs 5, not 2; trained on rotated, not unrotated"),
    ],
)
def test_a_model_with_other_options_does_not_count(asked, changes, differs):
    models = store_pair(asked)
    store_values(asked, models, "mean")
    moved = changes == {"trained_on": "rotated"}
    other = models["rotated"] if moved else replace(models["unrotated"], **changes)
    save_model(path_of(asked, "unrotated"), other)
    found = training(asked, "unrotated")
    assert (found.complete, found.done, found.differs) == (False, 0, differs)
    assert asked.standing().pairs[0].differs["mean"] == "its models are not trained as asked"
    assert done(asked) == [False] * 3


def test_epochs_of_other_batches_say_nothing_and_of_another_schedule_do(asked):
    store_pair(asked, seconds=7.0)
    assert training(replace(asked, schedule=1), "rotated").seconds == (7.0,) * 5
    other = replace(asked.recipe, batch_size=8)
    store(asked, "rotated", recipe=other)
    found = training(asked, "rotated")
    assert (found.seconds, found.differs) == ((), "batch size 8, not 64")


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"batch size": 8}, "an unfinished training with batch size 8, not 64"),
        ({"--keep-epochs": 1}, "an unfinished training with --keep-epochs 1, not None"),
        ({"versions": {}}, "an unfinished training with versions {}, not {"),
        ({"seed of their choice": 0}, "an unfinished training with samples 10, not all"),
    ],
)
def test_an_unfinished_training_that_will_not_be_continued_does_not_count(asked, settings, differs):
    store_checkpoint(asked, "rotated", [5.0], settings=settings)
    found = training(asked, "rotated")
    assert (found.done, found.seconds) == (0, ())
    assert found.differs.startswith(differs)


@pytest.mark.parametrize(
    "state",
    [{}, {"history": 3}, {"history": [{"loss": 1.0}]}, {"history": [{"loss": 1.0, "accuracy": "a", "seconds": 1.0}]},
     {"history": [asdict(Epoch(1.0, 0.5, 1.0))] * 6}],
)  # fmt: skip
def test_a_malformed_unfinished_training_is_in_the_way(asked, state):
    save_checkpoint(path_of(asked, "rotated").with_suffix(".checkpoint"), Protocol({}), state)
    found = training(asked, "rotated")
    assert (found.done, found.complete) == (0, False)
    assert "rotated.checkpoint cannot be continued (" in found.differs


def test_impossible_seconds_are_unknown(asked):
    store_checkpoint(asked, "rotated", [float("nan"), float("inf"), -1.0])
    assert (training(asked, "rotated").done, training(asked, "rotated").seconds) == (3, ())


def test_damaged_files_are_in_the_way(asked):
    models = store_pair(asked)
    store_values(asked, models, "mean")
    values_file(asked.results_dir, "simple_conv", "digits", "rotation", "mean").write_bytes(b"no measurement")
    path_of(asked, "rotated", 1).write_bytes(b"no model")
    path_of(asked, "unrotated", 1).with_suffix(".checkpoint").write_bytes(b"no training")
    first, second = asked.standing().pairs
    assert "cannot be read as a measurement" in first.differs["mean"]
    assert "rotated.pt cannot be read as a trained model" in second.differs["rotated model"]
    assert "unrotated.checkpoint cannot be read as an unfinished training" in second.differs["unrotated model"]


def test_a_replacement_under_way_counts(asked):
    """With ``--overwrite``, the first model waits under another name, and the second has a checkpoint."""
    other = replace(asked.recipe, batch_size=8)
    store_pair(asked, recipe=other)
    save_model(path_of(asked, "unrotated").with_suffix(".new"), model(asked, "unrotated"))
    store_checkpoint(asked, "rotated", [2.0] * 3)
    found = asked.standing().pairs[0].trainings
    assert [each.done for each in found.values()] == [2, 3]
    assert not any(each.complete for each in found.values())
    save_model(path_of(asked, "unrotated").with_suffix(".new"), model(asked, "unrotated", recipe=other))
    assert training(asked, "unrotated").done == 0


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"values": {"samples": 3, "samples_offered": 3}}, "samples 3, not 4"),
        ({"values": {"tolerance": 0.5}}, "tolerance 0.5, not None"),
        ({"values": {"precision": "bf16"}}, "precision bf16, not fp32"),
        ({"values": {"transformations": ["a", "b"]}}, "steps 2, not 16"),
        ({"weights": dict.fromkeys(PAIR, "")}, "its models have been replaced since"),
    ],
)
def test_a_measurement_with_other_options_or_of_other_models_does_not_count(asked, changes, differs):
    models = store_pair(asked)
    store_values(asked, models, "mean", **changes)
    store_values(asked, models, "max")
    found = asked.standing().pairs[0].measurements[None]
    assert (found.done, found.differs) == (("max",), {"mean": differs})
    assert not found.complete


def test_the_matrix_has_a_row_for_each_seed_and_names_what_is_in_the_way(asked):
    models = store_pair(asked, seconds=60.0)
    store_values(asked, models, "mean", seconds=180.0)
    store_checkpoint(asked, "unrotated", [60.0] * 2, seed=1)
    store(asked, "rotated", seed=1, recipe=replace(asked.recipe, batch_size=8))
    lines = standing_lines([(asked, asked.standing())], {asked.title: "3 of 9"})
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[:3]]
    assert cells[0] == ["seed", "unrotated model", "rotated model", "measured", "before training", "figures",
                        "time left"]  # fmt: skip
    assert cells[1] == [
        "simple_conv on digits",
        "0",
        "2 of 2 epochs",
        "5 of 5 epochs",
        "mean",
        "-",
        "3 of 9",
        "unknown",
    ]
    assert cells[2] == ["1", "2 of 2 epochs, not evaluated", "0 of 5 epochs !", "-", "-", "unknown"]
    assert lines[-1] == "  simple_conv on digits, seed 1, rotated model: batch size 8, not 64"
    for seed, control in ((0, RANDOM_WEIGHTS), (1, None)):
        store_values(asked, models, "mean", control, seed, seconds=60.0)
    lines = standing_lines([(asked, asked.standing())], {})
    assert [line.split("  ")[-1].strip() for line in lines[1:3]] == ["4 min", "9 min"]
    assert lines[-1] == "  simple_conv on digits, seed 1, mean: its models are not trained as asked"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.5, "1 min"), (3570, "1 h"), (3569, "59 min"), (90 * 60, "1 h 30 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
