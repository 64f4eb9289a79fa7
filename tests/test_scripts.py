"""The three scripts as a user runs them: small, on the CPU, without a network, every warning an error."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import MEASURE, ROOT, SMALL, TRAIN, assert_one_line, begin, run
from PIL import Image

import experiment_rotation
import experiment_variance
import plot_variances_models
from pytorch.datasets import load_dataset
from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError
from pytorch.experiments.evaluation import Evaluator
from pytorch.experiments.storage import load_model, load_values, save_model
from pytorch.experiments.training import Training
from pytorch.experiments.vocabulary import PAIR

KILLS = int(os.environ.get("KILLS", "2"))


def test_training_leaves_a_pair_that_says_everything(home):
    for trained_on, epochs in (("unrotated", 1), ("rotated", 3)):
        trained = load_model(home / "variance_results" / "models" / "simple_conv_digits" / f"{trained_on}.pt")
        assert trained.trained_on == trained_on
        assert trained.samples == 40
        assert trained.test_samples == 40
        assert len(trained.history) == epochs
        assert set(trained.accuracy) == {"upright", "rotated"}
        curve = trained.angle_curve
        assert curve.accuracy[curve.degrees.index(0)] == trained.accuracy["upright"]
        assert len(curve.degrees) == 25
        assert trained.normalization == Normalization.of(load_dataset("digits", None, 40).train.images)
    out = (home / "experiment_rotation.py.out").read_text()
    assert "accuracy on 40 test samples, upright and rotated" in out
    assert "rotated model: epoch 3/3, loss" in out


def test_measuring_leaves_a_pair_of_results(home):
    (file,) = (home / "variance_results" / "values").iterdir()
    assert file.name == "simple_conv_digits_rotation_mean.pickle"
    pair = load_values(file)
    for result in pair.results.values():
        assert result.samples == 30
        assert result.classes == list("0123456789")
        assert len(result.transformations) == 4
        assert result.layer_names[0] == "conv1"
        assert result.layer_names[-1] == "log_softmax"
    out = (home / "experiment_variance.py.out").read_text()
    assert f"{pair.results['rotated'].global_mean('stratified'):.4f}" in out


KINDS = ("layers", "classes", "class-layers", "class-units", "overview")


def test_drawing_leaves_every_figure(home):
    figures = {path.name for path in (home / "plots" / "simple_conv_digits").iterdir()}
    groups = ["all", "stratified", *(f"class{digit}_{digit}" for digit in range(10))]
    assert figures == {
        "training.png", "accuracy.png", "angles.png", *(f"rotation_mean_{kind}.png" for kind in KINDS),
        *(f"rotation_mean_heatmap_{group}.png" for group in groups),
    }  # fmt: skip
    together = {path.name for path in (home / "plots").iterdir()}
    tables = {"results.csv", "results.csv.gz", "results.md", "results.tex"}
    assert together == {"simple_conv_digits", "digits_rotation_mean_depth.png", "figures.json", "index.html", *tables}
    for path in (home / "plots").rglob("*.png"):
        with Image.open(path) as image:
            image.verify()


def test_finished_training_is_not_repeated(home):
    models = home / "variance_results" / "models" / "simple_conv_digits"
    before = {path: path.read_bytes() for path in models.iterdir()}
    process = run(home, *TRAIN)
    assert process.stdout.count("already trained") == 2
    assert {path: path.read_bytes() for path in models.iterdir()} == before


def test_training_with_other_settings_keeps_the_old_pair(home):
    process = run(home, *TRAIN, "--seed", "3")
    assert_one_line(process, 1, "unrotated.pt was trained with", "; seed 0, not 3: --overwrite")


def test_more_epochs_of_the_rotated_model_alone_concern_it_alone(home, script):
    code, told, _ = script("train", "simple_conv", "digits", *SMALL, "--rotated-epochs", "5", home=home)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "/rotated.pt was trained with epochs 3, not 5" in told


def test_measuring_twice_gives_the_same_values(home, tmp_path):
    """Bit for bit; with other batches, to rounding."""
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    file = tmp_path / "variance_results" / "values" / "simple_conv_digits_rotation_mean.pickle"
    before = load_values(file).results["rotated"]
    file.unlink()
    assert run(tmp_path, *MEASURE).returncode == 0
    after = load_values(file).results["rotated"]
    assert after.tv_classes.tobytes() == before.tv_classes.tobytes()
    assert after.sv_all.tobytes() == before.sv_all.tobytes()
    assert run(tmp_path, *MEASURE, "--batch-size", "7", "--overwrite").returncode == 0
    other = load_values(file).results["rotated"]
    assert other.tv_all.tobytes() != before.tv_all.tobytes(), "the option has no effect"
    assert other.global_mean("stratified") == pytest.approx(before.global_mean("stratified"), rel=1e-4)


def test_controls_several_aggregations_and_other_transformations(home, tmp_path):
    shutil.copytree(home / "variance_results", tmp_path / "results")
    folders = ["--results-dir", str(tmp_path / "results"), "--plots-dir", str(tmp_path / "plots")]
    small = ["simple_conv", "digits", *folders, "--samples", "30", "--steps", "4"]
    experiment_variance.main(
        [*small, "--aggregation", "mean,max", "--control", "random-weights", "--precision", "bf16"]
    )
    experiment_variance.main([*small, "--control", "shuffled"])
    experiment_variance.main([*small, "--transformation", "translation", "--tolerance", "9"])
    names = {file.stem.removeprefix("simple_conv_digits_") for file in (tmp_path / "results" / "values").iterdir()}
    assert names == {
        "rotation_mean", "rotation_mean_random-weights", "rotation_max_random-weights", "rotation_mean_shuffled",
        "translation_mean",
    }  # fmt: skip
    pairs = {name: load_values(tmp_path / "results" / "values" / f"simple_conv_digits_{name}.pickle") for name in names}
    untrained = pairs["rotation_max_random-weights"]
    assert list(untrained.results) == ["untrained"]
    assert (untrained.control, untrained.aggregation, untrained.any_result.precision) == (
        "random-weights",
        "max",
        "bf16",
    )
    assert pairs["rotation_mean_shuffled"].any_result.shuffled
    assert pairs["translation_mean"].any_result.transformations[0] == "translation by -1 right, -1 down"
    assert pairs["translation_mean"].any_result.samples_offered == 30
    trained = load_model(tmp_path / "results" / "models" / "simple_conv_digits" / "unrotated.pt")
    fresh, learned = (trained.network(trained=wanted).conv1.weight for wanted in (False, True))
    assert not torch.equal(fresh, learned)
    assert torch.equal(fresh, trained.network(trained=False).conv1.weight)
    assert plot_variances_models.main([*folders, "--only", "random-weights,shuffled", "all,layers"]) == 0
    drawn = {file.name for file in (tmp_path / "plots" / "simple_conv_digits").iterdir()}
    assert {"rotation_max_random-weights_heatmap_all.png", "rotation_mean_shuffled_layers.png"} <= drawn


def test_a_trial_does_not_replace_a_measurement(home, script):
    process = run(home, "experiment_variance.py", "simple_conv", "digits", "--samples", "20", "--steps", "2")
    assert_one_line(process, 1, "was measured with samples 30, not 20; steps 4, not 2: replace it with --overwrite")
    code, told, _ = script("measure", *MEASURE[1:], "--seed", "1", home=home)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "was measured with seed 0, not 1: " in told
    code, told, _ = script("measure", *MEASURE[1:], "--classes", "cat", home=home)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "no class 'cat' for statistics of its own: choose from '0'" in told


def test_the_old_pair_stays_until_the_new_one_is_complete(home, tmp_path, monkeypatch, capsys):
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    models = tmp_path / "variance_results" / "models" / "simple_conv_digits"
    before = {path.name: path.read_bytes() for path in models.iterdir()}
    folders = ["--results-dir", str(tmp_path / "variance_results"), "--plots-dir", str(tmp_path / "plots")]
    command = ["simple_conv", "digits", *SMALL, "--seed", "1", "--overwrite", *folders]
    original = Training.run_epoch
    epochs = []

    def interrupted(training, name):
        epochs.append(name)
        if epochs.count("rotated model") == 2:
            raise KeyboardInterrupt
        return original(training, name)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment_rotation.main(command)
    assert {name: (models / name).read_bytes() for name in before} == before
    assert {path.name for path in models.iterdir()} == {*before, "unrotated.new", "rotated.checkpoint"}
    assert f"unrotated model: {models / 'unrotated.pt'}, once both are trained\n" in capsys.readouterr().out
    monkeypatch.undo()
    experiment_rotation.main(["simple_conv", "digits", *SMALL, *folders])
    assert {name: (models / name).read_bytes() for name in before} == before, "half of a new pair took its place"
    monkeypatch.setattr(Training, "run_epoch", interrupted)
    experiment_rotation.main(command)
    assert epochs == ["unrotated model"] + ["rotated model"] * 4, "finished work was repeated"
    assert {path.name: load_model(path).seed for path in models.iterdir()} == {"unrotated.pt": 1, "rotated.pt": 1}


def weights(home):
    folder = home / "variance_results" / "models" / "simple_conv_digits"
    assert {path.name for path in folder.iterdir()} == {"unrotated.pt", "rotated.pt"}
    return [load_model(folder / f"{trained_on}.pt").weights for trained_on in PAIR]


@pytest.mark.slow
def test_a_training_killed_again_and_again_ends_with_the_same_weights(home, tmp_path):
    """SIGKILL, each time at another moment after an epoch; the same command continues."""
    random = np.random.default_rng(KILLS)
    for _ in range(KILLS):
        process = begin(tmp_path, *TRAIN)
        for line in process.stdout:
            if ": epoch" in line or "already trained" in line:
                break
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
    last = run(tmp_path, *TRAIN)
    assert last.returncode == 0, last.stderr
    assert last.stdout.count(": epoch") < 4, "nothing was taken up"
    for interrupted, undisturbed in zip(weights(tmp_path), weights(home), strict=True):
        assert all(torch.equal(interrupted[name], undisturbed[name]) for name in undisturbed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits are set between fork and exec")
def test_a_full_disk_gets_one_line(tmp_path):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    process = run(tmp_path, *TRAIN, preexec_fn=limit)
    assert_one_line(process, 1, "unrotated.checkpoint cannot be written: File too large")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_training_under_way_with_other_settings_is_not_lost(home, tmp_path, monkeypatch):
    folders = ["--results-dir", str(tmp_path / "results"), "--plots-dir", str(tmp_path / "plots")]
    command = ["simple_conv", "digits", *folders, "--samples", "40"]
    monkeypatch.setattr(Evaluator, "accuracies", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        experiment_rotation.main([*command, "--epochs", "1"])
    monkeypatch.undo()
    with pytest.raises(InputError, match="an unfinished training with epochs 1, not 2: finish that one"):
        experiment_rotation.main([*command, "--epochs", "2"])
    experiment_rotation.main([*command, "--epochs", "2", "--overwrite"])
    folder = tmp_path / "results" / "models" / "simple_conv_digits"
    assert {path.name: len(load_model(path).history) for path in folder.iterdir()} == {
        "unrotated.pt": 2,
        "rotated.pt": 6,
    }


def test_several_seeds(home, tmp_path):
    """Bits are compared with another process of the script, as the promise is about commands."""
    folders = ["--results-dir", str(tmp_path / "results"), "--plots-dir", str(tmp_path / "plots")]
    process = run(tmp_path, "experiment_rotation.py", "simple_conv", "digits", *folders, *SMALL, "--seeds", "2")
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "results" / "models" / "simple_conv_digits"
    pairs = [[load_model(place / f"{name}.pt") for name in PAIR] for place in (folder, folder / "seed1")]
    assert [[trained.seed for trained in pair] for pair in pairs] == [[0, 0], [1, 1]]
    assert torch.equal(pairs[0][0].weights["conv1.weight"], weights(home)[0]["conv1.weight"])
    assert not torch.equal(pairs[0][0].weights["conv1.weight"], pairs[1][0].weights["conv1.weight"])
    found = 100 * np.array([pair[1].accuracy["rotated"] for pair in pairs])
    assert f"{found.mean():.2f} ± {found.std(ddof=1):.2f} %" in process.stdout
    with pytest.raises(InputError, match=r"counts from the first trained pair, .*: use --seed 0$"):
        experiment_variance.main(["simple_conv", "digits", *folders, "--seed", "1", "--seeds", "2"])


@pytest.mark.parametrize("moment", [1, 4])
def test_new_pairs_take_the_place_of_the_old_ones_whenever_it_is_killed(home, tmp_path, monkeypatch, moment, replaced):
    """Stopped at each of the renamings of two pairs and after them; nothing is trained twice."""
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    folders = ["--results-dir", str(tmp_path / "variance_results"), "--plots-dir", str(tmp_path / "plots")]
    command = ["simple_conv", "digits", *SMALL, *folders, "--seeds", "2", "--overwrite", "--rotated-epochs", "1"]
    if moment == 4:
        monkeypatch.setattr(experiment_rotation, "print_accuracies", lambda pairs: 1 / 0)
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        experiment_rotation.main(command)
    assert len(replaced) == moment
    monkeypatch.undo()
    monkeypatch.setattr(Training, "run_epoch", lambda *arguments: pytest.fail("trained again"))
    experiment_rotation.main(command)
    folder = tmp_path / "variance_results" / "models" / "simple_conv_digits"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"unrotated.pt", "rotated.pt", "seed1/unrotated.pt", "seed1/rotated.pt"}
    assert load_model(folder / "rotated.pt").epochs == 1


def test_a_pair_stays_in_the_precision_it_was_begun_in(home, tmp_path):
    shutil.copytree(home / "variance_results", tmp_path / "results")
    folder = tmp_path / "results" / "models" / "simple_conv_digits"
    for path in folder.iterdir():
        save_model(path, replace(load_model(path), precision="bf16"))
    (folder / "rotated.pt").unlink()
    for precision in (None, "fp32"):
        command = ["simple_conv", "digits", *SMALL, "--results-dir", str(tmp_path / "results")]
        command += ["--plots-dir", str(tmp_path / "plots")] + (["--precision", precision] if precision else [])
        if precision:
            with pytest.raises(InputError, match="precision bf16, not fp32"):
                experiment_rotation.main(command)
        else:
            experiment_rotation.main(command)
            assert load_model(folder / "rotated.pt").precision == "bf16"


def test_models_that_are_no_pair_are_not_measured(home, tmp_path, script):
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    folder = tmp_path / "variance_results" / "models" / "simple_conv_digits"
    rotated = load_model(folder / "rotated.pt")
    save_model(folder / "rotated.pt", replace(rotated, seed=7))
    assert "not a pair, the rotated one was trained with seed 7, not 0: " in script("measure", *MEASURE[1:])[1]
    save_model(folder / "unrotated.pt", rotated)
    assert "unrotated.pt contains the rotated simple_conv of digits" in script("measure", *MEASURE[1:])[1]


def test_a_model_folder_that_cannot_be_made_is_found_out_before_training(script, tmp_path):
    (tmp_path / "variance_results").mkdir()
    (tmp_path / "variance_results" / "models").write_text("a file")
    code, told, out = script("train", "simple_conv", "digits", *SMALL)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "models/simple_conv_digits cannot be made" in told
    assert "epoch" not in out


def test_a_folder_of_the_longest_name_goes_through_all_scripts(script, tmp_path, image_folder):
    name = "y" * 50
    folder = image_folder.rename(image_folder.parent / name)
    assert script("train", "simple_conv", folder, "--epochs", "1", "--rotated-epochs", "1")[0] == 0
    assert script("measure", "simple_conv", folder, "--steps", "3", "--aggregation", "max")[0] == 0
    assert script("draw", "--only", "dog,layers")[0] == 0
    pair = load_values(tmp_path / "variance_results" / "values" / f"simple_conv_folder-{name}_rotation_max.pickle")
    assert pair.results["unrotated"].classes == ["cat", "dog"]
    assert (tmp_path / "plots" / f"simple_conv_folder-{name}" / "rotation_max_heatmap_class1_dog.png").exists()


def test_the_measure_normalizes_by_the_training_split(script, image_folder, monkeypatch):
    assert script("train", "simple_conv", image_folder, "--epochs", "1", "--rotated-epochs", "1")[0] == 0
    used = []
    original = experiment_variance.measure_variances

    def spy(*arguments, preprocess, **options):
        used.append(preprocess)
        return original(*arguments, preprocess=preprocess, **options)

    monkeypatch.setattr(experiment_variance, "measure_variances", spy)
    assert script("measure", "simple_conv", image_folder, "--steps", "2")[0] == 0
    assert used == [Normalization.of(load_dataset(str(image_folder), None).train.images)]


def test_a_folder_without_test_images(script, image_folder):
    shutil.rmtree(image_folder / "test")
    code, told, _ = script("train", "resnet", image_folder)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "has no folder test/" in told


def test_classes_of_one_sample_are_named(home, tmp_path, script):
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    code, _, out = script("measure", "simple_conv", "digits", "--steps", "2", "--samples", "12", "--overwrite")
    assert code == 0
    assert "left out of stratified: 2, 3, 4, 5, 6, 7, 8, 9" in out


def test_a_bad_file_does_not_stop_the_others(home, tmp_path, script):
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    (tmp_path / "variance_results" / "values" / "a_bad_one.pickle").write_bytes(b"\x80\x05garbage")
    code, told, _ = script("draw", "--only", "all")
    assert (code, len(told.splitlines())) == (1, 1)
    assert "a_bad_one.pickle cannot be read as a measurement" in told
    assert (tmp_path / "plots" / "simple_conv_digits" / "rotation_mean_heatmap_all.png").exists()


def test_damaged_files_are_made_again_by_overwrite(home, tmp_path, script):
    folder = tmp_path / "variance_results"
    shutil.copytree(home / "variance_results", folder)
    measuring = "measure", "simple_conv", "digits", "--samples", "30", "--steps", "4"
    (values,) = (folder / "values").glob("*.pickle")
    values.write_bytes(values.read_bytes()[:-100])
    code, told, _ = script(*measuring)
    assert (code, len(told.splitlines())) == (1, 1)
    assert told.endswith("; --overwrite makes it again\n")
    assert script(*measuring, "--overwrite")[0] == 0
    assert script(*measuring)[0] == 0
    (folder / "models" / "simple_conv_digits" / "unrotated.pt").write_bytes(b"")
    code, told, _ = script("train", "simple_conv", "digits")
    assert (code, len(told.splitlines())) == (1, 1)
    assert told.endswith("; --overwrite makes it again\n")


SCRIPTS = ["experiment_rotation.py", "experiment_variance.py", "plot_variances_models.py", "reproduce_paper.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(tmp_path, script):
    process = run(tmp_path, script, "--help")
    assert process.returncode == 0
    assert "--results-dir" in process.stdout
    assert "default: None" not in process.stdout


@pytest.mark.parametrize("argument", ["--help", "--no-such-option"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_wrong_usage_wait_for_no_slow_import(script, argument):
    command = [sys.executable, "-X", "importtime", ROOT / script, argument]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert "pytorch.scripts.options" in imported
    assert not imported & {"torch", "numpy", "scipy", "matplotlib", "torchvision", "PIL", "typeguard"}


def test_importing_does_no_work():
    """The generator is left alone, and neither torchvision nor matplotlib is loaded before it is needed."""
    code = (
        "import sys, random, torch; state = torch.get_rng_state()\n"
        "import pytorch.variance, pytorch.models, pytorch.datasets, pytorch.transformations\n"
        "assert 'matplotlib' not in sys.modules and 'torchvision' not in sys.modules\n"
        "assert torch.equal(state, torch.get_rng_state())"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


def test_models_that_are_being_replaced_are_not_measured(home, tmp_path, script):
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    (tmp_path / "variance_results" / "models" / "simple_conv_digits" / "complete").write_text('["."]')
    code, told, _ = script("measure", *MEASURE[1:])
    assert (code, len(told.splitlines())) == (1, 1)
    assert "new models were being put in place" in told
    assert "run that experiment_rotation.py once more" in told


def test_a_tolerance_that_is_not_reached_is_told(home, tmp_path, capsys):
    shutil.copytree(home / "variance_results" / "models", tmp_path / "results" / "models")
    small = ["simple_conv", "digits", "--results-dir", str(tmp_path / "results"), "--samples", "150", "--overwrite"]
    small += ["--batch-size", "50", "--steps", "2"]
    experiment_variance.main([*small, "--tolerance", "1e-9"])
    assert "all 150 samples (tolerance 1e-09 not reached before the last)" in capsys.readouterr().out
    experiment_variance.main([*small, "--tolerance", "9"])
    assert "100 of 150 samples (tolerance 9)" in capsys.readouterr().out
