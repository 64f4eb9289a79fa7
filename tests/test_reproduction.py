"""Everything for the paper's tables by one command, small: what is missing is done, and what is there is not."""

import re
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch
from commands import begin, run
from PIL import Image

import experiment_rotation
import experiment_variance
import plot_variances_models
import reproduce_paper
from pytorch.experiments.reproduction import DRAW, TRAIN
from pytorch.experiments.storage import load_checkpoint, load_model, load_values
from pytorch.experiments.training import Training
from pytorch.experiments.vocabulary import PAIR

SMALL = ("--models", "simple_conv", "--samples", "40", "--schedule", "0.1", "--seeds", "2")


@pytest.fixture
def reproduce(tmp_path, monkeypatch, capsys):
    """Run the script in a folder of its own; give its exit code and what it told."""
    monkeypatch.chdir(tmp_path)

    def call(*options):
        code = reproduce_paper.main([*SMALL, "--results-dir", "results", *options])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setitem(reproduce_paper.SCRIPTS, DRAW, SimpleNamespace(main=lambda arguments: 0))


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.p*") if path.suffix in (".pt", ".pickle")}


def test_what_is_missing_is_done_and_a_failing_data_set_stops_no_other(reproduce, tmp_path, monkeypatch):
    draw = plot_variances_models.main
    few = SimpleNamespace(main=lambda arguments: draw([*arguments, "--only", "layers"]))
    monkeypatch.setitem(reproduce_paper.SCRIPTS, DRAW, few)
    broken = tmp_path / "broken"
    (broken / "train" / "cat").mkdir(parents=True)
    code, told, errors = reproduce("--datasets", str(broken), "digits")
    assert (code, errors.count("error: "), told.count("skipped, because its models were not trained as requested")) == (
        1,
        1,
        2,
    )
    assert "error: train simple_conv on folder-broken: " in errors
    assert "7 steps: 4 done now, 1 failed, 2 skipped" in told
    results = tmp_path / "results"
    assert (load_model(results / "models" / "simple_conv_digits" / "rotated.pt").epochs) == 2
    second = load_values(results / "values" / "seed1" / "simple_conv_digits_rotation_max.pickle")
    assert second.training["unrotated"]["seed"] == 1
    assert len(second.any_result.transformations) == 16
    table = (tmp_path / "plots" / "results.md").read_text()
    assert "## Accuracy on rotated data" in table
    assert "## Normalized variance against depth" in table
    made = times(results)
    assert len(made) == 4 + 2 * 4
    code, told, errors = reproduce("--datasets", "digits")
    assert (code, errors) == (0, "")
    assert "4 steps: 3 done before, 1 done now, 0 failed" in told
    assert times(results) == made
    (results / "values" / "seed1" / "simple_conv_digits_rotation_max.pickle").unlink()
    (results / "models" / "simple_conv_digits" / "seed1" / "rotated.pt").write_bytes(b"no model")
    code, told, errors = reproduce("--datasets", "digits")
    assert "4 steps: 2 failed, 2 skipped" in told
    assert "seed1/rotated.pt cannot be read as a trained model" in errors


@pytest.mark.usefixtures("undrawn")
def test_only_what_was_done_as_asked_is_done(tmp_path, monkeypatch, capsys):
    """Other batches, fewer samples and a tolerance are no reproduction; the scripts say what is in the way."""
    monkeypatch.chdir(tmp_path)
    what = ["simple_conv", "digits", "--results-dir", "results"]
    experiment_rotation.main([*what, "--epochs", "1", "--rotated-epochs", "2", "--samples", "40", "--batch-size", "8"])
    reproduce = ["--models", "simple_conv", "--datasets", "digits", "--results-dir", "results", "--schedule", "0.1"]
    assert reproduce_paper.main([*reproduce, "--samples", "40"]) == 1
    told = capsys.readouterr()
    assert "to do  train simple_conv on digits" in told.out
    assert "batch size 8, not 64: --overwrite" in told.err
    assert "\npython experiment_rotation.py simple_conv digits --results-dir results" in told.out
    experiment_rotation.main([*what, "--epochs", "1", "--rotated-epochs", "2", "--samples", "40", "--overwrite"])
    experiment_variance.main([*what, "--samples", "30", "--aggregation", "mean,max"])
    experiment_variance.main(
        [*what, "--samples", "40", "--aggregation", "mean,max", "--control", "random-weights", "--tolerance", "5"]
    )
    capsys.readouterr()
    assert reproduce_paper.main([*reproduce, "--samples", "40"]) == 1
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()[:3]] == ["done", "to", "to"]
    assert "samples 30, not 40" in told.err
    assert "tolerance 5.0, not None" in told.err
    assert reproduce_paper.main([*reproduce, "--samples", "50"]) == 1
    assert "to do  train simple_conv on digits" in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_a_step_without_memory_stops_no_other(reproduce, monkeypatch):
    def fail(arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(reproduce_paper.SCRIPTS, TRAIN, SimpleNamespace(main=fail))
    code, told, errors = reproduce("--datasets", "digits")
    assert (code, errors.count("out of memory: ")) == (1, 1)
    assert "4 steps: 1 done now, 1 failed, 2 skipped" in told


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("error", [RuntimeError("a matrix of no shape"), KeyError("shape"), SystemExit(2)])
def test_a_fault_of_the_program_stops_no_other_step_and_is_shown(reproduce, monkeypatch, error):
    def fail(arguments):
        raise error

    monkeypatch.setitem(reproduce_paper.SCRIPTS, TRAIN, SimpleNamespace(main=fail))
    code, told, errors = reproduce("--datasets", "digits")
    shown = f"{type(error).__name__}: {error}"
    assert (code, errors.count(shown), errors.count("error: train ")) == (1, 1, 1)
    assert "4 steps: 1 done now, 1 failed, 2 skipped" in told


@pytest.mark.usefixtures("undrawn")
def test_folders_of_one_name_are_told_apart_by_their_content(reproduce, image_folder, tmp_path, capsys):
    other = shutil.copytree(image_folder, tmp_path / "elsewhere" / image_folder.name)
    small = ("--samples", "4", "--seeds", "1", "--schedule", "0.01")
    assert reproduce("--datasets", str(image_folder), *small)[0] == 0
    assert "4 steps: 3 done before" in reproduce("--datasets", str(other), *small)[1]
    Image.new("RGB", (32, 32)).save(other / "test" / "cat" / "0.png")
    code, told, errors = reproduce("--datasets", str(other), *small)
    assert (code, "4 steps: 1 done now" in told) == (1, True)
    assert "was trained with fingerprint of the data " in errors
    with pytest.raises(SystemExit):
        reproduce("--datasets", str(image_folder), str(other))
    assert "name each model and each data set once: simple_conv, folder-pets, folder-pets" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_measurement_under_the_name_of_another_is_not_taken_for_it(reproduce, tmp_path, capsys):
    reproduce("--datasets", "digits", "--seeds", "1")
    values = tmp_path / "results" / "values"
    shutil.copy(values / "simple_conv_digits_rotation_mean.pickle", values / "simple_conv_digits_rotation_max.pickle")
    code, told, errors = reproduce("--datasets", "digits", "--seeds", "1")
    assert (code, "4 steps: 2 done before, 1 done now, 1 failed" in told) == (1, True)
    assert "rotation_max.pickle contains another measurement, which was moved there" in errors


@pytest.mark.usefixtures("undrawn")
def test_the_epochs_of_a_schedule_and_the_precision_count(reproduce):
    assert reproduce("--datasets", "digits", "--seeds", "1")[0] == 0
    code, told, _ = reproduce("--datasets", "digits", "--seeds", "1", "--precision", "bf16")
    assert code == 1
    assert "4 steps: 1 done before, 1 done now, 2 failed" in told
    code, _, errors = reproduce("--datasets", "digits", "--seeds", "1", "--schedule", "0.3")
    assert code == 1
    assert "was trained with epochs 1, not 2" in errors


def test_the_commands_of_steps_name_only_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = []
    script = SimpleNamespace(main=lambda arguments: asked.append(arguments))
    monkeypatch.setattr(reproduce_paper, "SCRIPTS", dict.fromkeys(reproduce_paper.SCRIPTS, script))
    common = ["--models", "simple_conv", "--datasets", "digits"]
    reproduce_paper.main(common)
    assert asked[0] == ["simple_conv", "digits"]
    assert asked[-1] == ["--sort"]
    asked.clear()
    reproduce_paper.main([*common, "--results-dir", "~/mine", "--data-dir", "here", "--plots-dir", "there"])
    given = ["--results-dir", str(tmp_path / "mine"), "--plots-dir", "there", "--data-dir", "here"]
    assert asked[0] == ["simple_conv", "digits", *given]
    assert asked[-1] == [*given, "--sort"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_fewer_samples_may_be_evaluated_and_measured_than_trained_on(reproduce, tmp_path):
    small = ("--datasets", "digits", "--seeds", "1")
    results = tmp_path / "results"
    values = results / "values" / "simple_conv_digits_rotation_mean.pickle"

    def samples():
        trained = load_model(results / "models" / "simple_conv_digits" / "rotated.pt")
        return trained.samples, trained.test_samples, load_values(values).any_result.samples

    assert reproduce(*small, "--test-samples", "23")[0] == 0
    assert samples() == (40, 23, 23)
    assert "4 steps: 3 done before" in reproduce(*small, "--test-samples", "23")[1]
    code, told, errors = reproduce(*small, "--test-samples", "12")
    assert (code, "4 steps: 1 done before" in told, errors.count("samples 23, not 12: ")) == (1, True, 2)
    code, _, errors = reproduce(*small)
    assert (code, "was trained with test samples 23, not 40: --overwrite" in errors) == (1, True)
    shutil.rmtree(results)
    assert reproduce(*small)[0] == 0
    assert samples() == (40, 40, 40)
    code, told, errors = reproduce(*small, "--test-samples", "23")
    assert (code, "4 steps: 1 done before" in told) == (1, True)
    assert errors.count("samples 40, not 23: replace it with --overwrite") == 2
    shutil.rmtree(results / "values")
    assert reproduce("--datasets", "digits", "--seeds", "2", "--test-samples", "23")[0] == 0
    assert samples() == (40, 40, 23)


@pytest.mark.usefixtures("undrawn")
def test_measuring_the_same_again_measures_only_what_is_missing(reproduce, tmp_path, capsys):
    reproduce("--datasets", "digits", "--seeds", "1")
    values = tmp_path / "results" / "values"
    made = times(values)
    measure = ["simple_conv", "digits", "--results-dir", "results", "--samples", "40", "--aggregation", "mean,max"]
    experiment_variance.main(measure)
    assert capsys.readouterr().out.count("already measured: ") == 2
    assert times(values) == made
    lost = values / "simple_conv_digits_rotation_max.pickle"
    lost.unlink()
    experiment_variance.main(measure)
    assert "already measured: results/values/simple_conv_digits_rotation_mean.pickle" in capsys.readouterr().out
    assert {path for path, time in times(values).items() if made[path] != time} == {lost}
    experiment_variance.main([*measure, "--overwrite"])
    assert "already measured" not in capsys.readouterr().out
    with pytest.raises(
        Exception, match=r"first run python experiment_rotation\.py simple_conv digits --seed 0 --seeds 2"
    ):
        experiment_variance.main([*measure, "--seeds", "2"])


def rows(told):
    """Cells of the matrix that ``--status`` prints, without its heads."""
    _, *lines = told[told.index("seed  unrotated model") :].splitlines()
    matrix = lines[: lines.index("")]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in matrix]


def stop(*arguments, **options):
    raise KeyboardInterrupt


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_status_of_nothing_leaves_nothing_behind(reproduce, tmp_path):
    code, told, errors = reproduce("--datasets", "digits", "mnist", "--status")
    assert (code, errors, files(tmp_path)) == (0, "", {})
    nothing = ["0 of 1 epochs", "0 of 2 epochs", "-", "-"]
    assert rows(told)[:2] == [["simple_conv on digits", "0", *nothing, "-", "unknown"], ["1", *nothing, "unknown"]]
    assert len(rows(told)) == 4
    assert "\nfigures of all results: 0 of 0 in plots\ntime left: unknown\n" in told


@pytest.mark.usefixtures("undrawn")
def test_it_can_be_interrupted_and_says_where_it_stands(reproduce, tmp_path, monkeypatch):
    """In the second epoch of the rotated model, then while measuring; figures of one kind are drawn."""
    what = ("--datasets", "digits", "--seeds", "1")
    results, original, begun = tmp_path / "results", Training.run_epoch, []

    def interrupted(training, name):
        begun.append(name)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return original(training, name)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce(*what)
    before = files(tmp_path)
    told = reproduce(*what, "--status")[1]
    _, state = load_checkpoint(results / "models" / "simple_conv_digits" / "rotated.checkpoint")
    done = ["simple_conv on digits", "0", "1 of 1 epochs", "1 of 2 epochs"]
    assert rows(told) == [[*done, "-", "-", "-", "unknown"]]
    assert f"\ntime left: at least {state['history'][0]['seconds']:.0f} s, unknown for 1 of 1 combinations\n" in told
    assert files(tmp_path) == before

    measure = experiment_variance.measure_variances
    monkeypatch.setattr(experiment_variance, "measure_variances", stop)
    with pytest.raises(KeyboardInterrupt):
        reproduce(*what)
    assert len(begun) == 4, "an epoch was trained again"
    monkeypatch.setattr(experiment_variance, "measure_variances", measure)
    code, told, _ = reproduce(*what)
    assert (code, len(begun)) == (0, 4)
    assert "== step 2 of 4: measure simple_conv on digits (combination 1 of 1); time left for everything: unkn" in told
    assert "4 steps: 1 done before, 3 done now" in told

    plot_variances_models.main(["--results-dir", "results", "--only", "layers", "--sort"])
    told = reproduce(*what, "--status")[1]
    cells = rows(told)[0]
    assert cells[:6] == [*done[:3], "2 of 2 epochs", "mean, max", "mean, max"]
    drawn, planned = map(int, re.fullmatch(r"(\d+) of (\d+)", cells[6]).groups())
    assert drawn == 4  # layers of both aggregations, and of both before training
    assert (cells[7], "\ntime left: none\n" in told) == ("0 s", True)
    assert f"\nfigures of all results: 4 of {planned + 2} in plots\n" in told, "two show all networks"
    plot_variances_models.main(["--results-dir", "results", "--only", "layers"])
    assert rows(reproduce(*what, "--status")[1])[0][6] == f"0 of {planned}", "drawn unsorted"


@pytest.mark.usefixtures("undrawn")
def test_headlines_say_which_of_how_many_and_the_time_left(reproduce, tmp_path):
    what = ("--datasets", "digits")
    told = reproduce(*what)[1]
    heads = [line for line in told.splitlines() if line.startswith("== ")]
    unknown = "; time left for everything: unknown"
    assert heads[0] == (
        f"== step 1 of 4: train simple_conv on digits (combination 1 of 1, 0 of 6 epochs done){unknown}"
    )
    assert heads[3] == "== step 4 of 4: draw into plots"
    seconds = load_values(tmp_path / "results" / "values" / "simple_conv_digits_rotation_mean.pickle").seconds
    lost = tmp_path / "results" / "values" / "seed1" / "simple_conv_digits_rotation_max.pickle"
    again = tmp_path / "results" / "models" / "simple_conv_digits" / "rotated.pt"
    lost.unlink()
    told = reproduce(*what)[1]
    head = next(line for line in told.splitlines() if line.startswith("== "))
    assert head.startswith("== step 2 of 4: measure simple_conv on digits (combination 1 of 1); time left for ev")
    assert abs(float(re.search(r": about (\d+) s$", head)[1]) - seconds) <= max(1, seconds)
    again.unlink()
    told = reproduce(*what, "--datasets", "mnist", "digits", "--status")[1]
    assert told.count("its models are not trained as asked") == 1
    assert "simple_conv on digits, seed 0, mean, max, mean before training, max before training: its" in told
    assert rows(told)[2][:6] == ["simple_conv on digits", "0", "1 of 1 epochs", "0 of 2 epochs", "- !", "- !"]
    assert re.search(r"\ntime left: at least \d+ s, unknown for 1 of 2 combinations\n", told)


@pytest.mark.slow
def test_after_ctrl_c_and_kills_it_continues_and_trains_no_epoch_twice(tmp_path):
    """Signals as a terminal, a batch system and a lack of memory send them."""
    command = ("reproduce_paper.py", "--models", "simple_conv", "--datasets", "digits", "--samples", "40")
    command += ("--schedule", "0.3")
    trained, codes = [], []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = begin(tmp_path, *command)
        for line in process.stdout:
            if ": epoch " in line:
                trained.append(line)
                break
        process.send_signal(number)
        rest, errors = process.communicate()
        trained += [line for line in rest.splitlines(keepends=True) if ": epoch " in line]
        codes.append(process.returncode)
        if number == signal.SIGINT:
            assert errors.endswith("every file is complete; run the same command again\n"), errors
    assert codes == [130, -signal.SIGTERM, -signal.SIGKILL]
    status = run(tmp_path, *command, "--status")
    assert (status.returncode, status.stderr) == (0, "")
    done = [int(cell.split()[0]) for cell in rows(status.stdout)[0][2:4]]
    process, told = begin(tmp_path, *command), ""
    for line in process.stdout:
        told += line
        if line.startswith("== step 4 of 4: draw "):
            break
    process.kill()
    process.communicate()
    trained += [line for line in told.splitlines(keepends=True) if ": epoch " in line]
    models = [load_model(tmp_path / f"variance_results/models/simple_conv_digits/{name}.pt") for name in PAIR]
    assert [model.epochs for model in models] == [2, 7]
    assert f"{sum(done)} of 9 epochs done" in told
    names = [line.partition(", loss")[0] for line in trained]
    assert len(set(names)) == len(names)
    assert rows(run(tmp_path, *command, "--status").stdout)[0][2:6] == [
        "2 of 2 epochs", "7 of 7 epochs", "mean, max", "mean, max",
    ]  # fmt: skip
