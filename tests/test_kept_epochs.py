"""Epochs that a training kept: their weights, their measurements, their figure, and what is refused."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from builders import of_layers, pair_of, texts
from commands import MEASURE

import experiment_rotation
import experiment_variance
from pytorch.datasets import load_dataset
from pytorch.errors import FileError, InputError
from pytorch.experiments.kept_epochs import KeptEpochs
from pytorch.experiments.recipes import recipe_for
from pytorch.experiments.storage import (
    SERIES_FORMAT,
    load_checkpoint,
    load_model,
    load_series,
    load_values,
    save_checkpoint,
    save_model,
    save_series,
)
from pytorch.experiments.trained_model import initial_network, weights_digest
from pytorch.experiments.training import Epoch, Training
from pytorch.experiments.variance_series import VarianceSeries
from pytorch.experiments.vocabulary import PAIR
from pytorch.figures import save_figure, series_figure, while_training_figure
from pytorch.files import safe_pickle
from pytorch.files.sealed_file import write_sealed
from pytorch.report.findings import find_results
from pytorch.report.gallery import Look, plan
from pytorch.transformations import rotations
from pytorch.variance import measure_variance
from pytorch.variance.precision import usual_precision

CPU = torch.device("cpu")
EPOCHS = {"unrotated": 2, "rotated": 4}
TRAIN = ("simple_conv", "digits", "--samples", "40", "--batch-size", "16", "--epochs", "2", "--rotated-epochs", "4")


def folders(home):
    return "--results-dir", str(home / "variance_results"), "--plots-dir", str(home / "plots")


def place(home):
    return home / "variance_results" / "models" / "simple_conv_digits"


def kept_files(home):
    return {str(path.relative_to(place(home))) for path in place(home).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory):
    """A home with a pair whose every epoch was kept, measured while training; leave it as it is."""
    home = tmp_path_factory.mktemp("kept")
    experiment_rotation.main([*TRAIN, *folders(home), "--keep-epochs"])
    experiment_variance.main([*MEASURE[1:], *folders(home), "--while-training"])
    return home


@pytest.fixture
def own_home(trained_home, tmp_path):
    """A copy of it."""
    shutil.copytree(trained_home / "variance_results", tmp_path / "variance_results")
    return tmp_path


def trained_until(trained_on, epoch):
    """The weights of a training that was stopped after an epoch."""
    dataset = load_dataset("digits", None, samples=40)
    recipe = recipe_for("simple_conv", "digits").with_options(2, 4, 16)
    network = initial_network("simple_conv", 1, 10, 0)
    training = Training(
        network, dataset.train, dataset.normalization, recipe, rotated=trained_on == "rotated", seed=0, device=CPU,
        precision=usual_precision(CPU),
    )  # fmt: skip
    for _ in range(epoch):
        training.run_epoch()
    return network.state_dict()


@pytest.mark.parametrize("trained_on", PAIR)
def test_kept_weights_are_those_of_a_training_stopped_there(trained_home, trained_on):
    epochs = KeptEpochs(place(trained_home) / f"{trained_on}.pt")
    assert [*epochs] == [*range(EPOCHS[trained_on] + 1)]
    assert len({weights_digest(network.state_dict()) for network in epochs.values()}) == len(epochs)
    for epoch, network in epochs.items():
        assert not network.training
        for name, expected in trained_until(trained_on, epoch).items():
            assert torch.equal(network.state_dict()[name], expected), (epoch, name)
    with pytest.raises(KeyError):
        epochs[9]


def test_keeping_epochs_changes_no_bit_of_a_training_and_says_what_it_takes(trained_home, tmp_path, capsys):
    experiment_rotation.main([*TRAIN, *folders(tmp_path), "--keep-epochs", "2"])
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("keeping ")]
    assert kept_files(tmp_path) == {"unrotated.pt", "rotated.pt", "rotated.epochs/2.checkpoint"}
    size = (place(tmp_path) / "rotated.epochs" / "2.checkpoint").stat().st_size / 1e6
    assert told == f"keeping 1 epoch of {size:.3g} MB, {size:.0f} MB in all, {place(tmp_path)}"
    shutil.rmtree(place(tmp_path))
    experiment_rotation.main([*TRAIN, *folders(tmp_path)])
    assert kept_files(tmp_path) == {"unrotated.pt", "rotated.pt"}
    for trained_on in PAIR:
        one, other = (load_model(place(home) / f"{trained_on}.pt") for home in (trained_home, tmp_path))
        assert weights_digest(one.weights) == weights_digest(other.weights)


def test_an_interrupted_training_keeps_all_its_epochs(trained_home, tmp_path, monkeypatch):
    original = Training.run_epoch

    def interrupted(training, name):
        if len(training.history) == 2 and training.epochs == 4:
            raise KeyboardInterrupt
        return original(training, name)

    monkeypatch.setattr(Training, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment_rotation.main([*TRAIN, *folders(tmp_path), "--keep-epochs"])
    monkeypatch.undo()
    with pytest.raises(InputError, match="an unfinished training with --keep-epochs 1, not None: finish that one"):
        experiment_rotation.main([*TRAIN, *folders(tmp_path)])
    experiment_rotation.main([*TRAIN, *folders(tmp_path), "--keep-epochs"])
    assert kept_files(tmp_path) == kept_files(trained_home)
    found, expected = (KeptEpochs(place(home) / "rotated.pt") for home in (tmp_path, trained_home))
    for epoch, network in found.items():
        assert weights_digest(network.state_dict()) == weights_digest(expected[epoch].state_dict())


def test_new_epochs_take_the_place_of_the_old_ones_with_their_models(own_home, monkeypatch):
    before = {name: (place(own_home) / name).read_bytes() for name in kept_files(own_home)}
    original = Training.run_epoch

    def interrupted(training, name):
        if len(training.history) == 1 and training.epochs == 4:
            raise KeyboardInterrupt
        return original(training, name)

    command = [*TRAIN, *folders(own_home), "--seed", "1", "--overwrite"]
    monkeypatch.setattr(Training, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment_rotation.main([*command, "--keep-epochs", "3"])
    assert {name: (place(own_home) / name).read_bytes() for name in before} == before
    monkeypatch.undo()
    experiment_rotation.main([*command, "--keep-epochs", "3"])
    assert kept_files(own_home) == {"unrotated.pt", "rotated.pt", "rotated.epochs/3.checkpoint"}
    assert [*KeptEpochs(place(own_home) / "rotated.pt")] == [0, 3, 4]
    KeptEpochs(place(own_home) / "rotated.pt")[3]
    experiment_rotation.main([*TRAIN, *folders(own_home), "--seed", "2", "--overwrite"])
    assert kept_files(own_home) == {"unrotated.pt", "rotated.pt"}
    assert {path.name for path in place(own_home).iterdir()} == {"unrotated.pt", "rotated.pt"}


@pytest.mark.parametrize("moment", range(4))
def test_epochs_and_models_change_places_whenever_it_is_killed(own_home, monkeypatch, moment, replaced):
    """Stopped before each of the renamings of two models and their epochs; nothing is trained twice."""
    command = [*TRAIN, *folders(own_home), "--seed", "1", "--overwrite", "--keep-epochs"]
    with pytest.raises(KeyboardInterrupt):
        experiment_rotation.main(command)
    assert len(replaced) == moment
    monkeypatch.undo()
    monkeypatch.setattr(Training, "run_epoch", lambda *arguments: pytest.fail("trained again"))
    experiment_rotation.main(command)
    assert not [*place(own_home).glob("*.new")]
    for trained_on in PAIR:
        epochs = KeptEpochs(place(own_home) / f"{trained_on}.pt")
        assert epochs.trained.seed == 1
        assert len([*epochs.values()]) == EPOCHS[trained_on] + 1


def test_epochs_that_a_finished_training_did_not_keep_are_asked_for_in_a_line(own_home, script):
    code, told, _ = script("train", *TRAIN, *folders(own_home), "--keep-epochs", home=own_home)
    assert (code, told) == (0, "")
    (place(own_home) / "rotated.epochs" / "1.checkpoint").unlink()
    code, told, _ = script("train", *TRAIN, *folders(own_home), "--keep-epochs", home=own_home)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "rotated.pt was trained with the weights of epoch 1 not kept: --overwrite trains it again" in told


@pytest.mark.parametrize("change", ["other training", "damaged", "no weights", "weights of another network"])
def test_a_file_that_is_not_of_the_epoch_is_refused_in_a_line(own_home, change):
    path = place(own_home) / "rotated.epochs" / "1.checkpoint"
    protocol, state = load_checkpoint(path)
    state |= {
        "other training": {"history": [{**state["history"][0], "seconds": 99.0}]},
        "damaged": {},
        "no weights": {"weights": 3},
        "weights of another network": {"weights": {"linear.weight": torch.ones(3)}},
    }[change]
    save_checkpoint(path, protocol, state)
    if change == "damaged":
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileError, match=r"1.checkpoint cannot be read as .*(remove it|make it again)"):
        KeptEpochs(place(own_home) / "rotated.pt")[1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("train", ("--keep-epochs", "0"), "--keep-epochs: 0 must be at least 1"),
        ("train", ("--keep-epochs", "1,2"), "--keep-epochs: '1,2' is not a whole number"),
        ("measure", ("--while-training", "--control", "shuffled"), "--control: not allowed with argument --while-t"),
        ("measure", ("--while-training",), "measures the epochs of a trained pair; a network from elsewhere has none"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_line(script, name, options, message):
    network = "simple_conv" if name == "train" or "--control" in options else "torchvision:resnet18"
    code, told, _ = script(name, network, "digits", *options)
    assert (code, len(told.splitlines())) == (2, 1)
    assert message in told


def test_epochs_that_were_not_kept_cannot_be_measured(own_home, script):
    for trained_on in PAIR:
        shutil.rmtree(place(own_home) / f"{trained_on}.epochs")
    command = (*MEASURE[1:], *folders(own_home), "--while-training")
    code, told, _ = script("measure", *command, home=own_home)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "no epochs were kept of the models in" in told
    assert "train them again with experiment_rotation.py --keep-epochs --overwrite" in told
    shutil.rmtree(place(own_home))
    code, told, _ = script("measure", *command, home=own_home)
    assert (code, len(told.splitlines())) == (1, 1)
    assert "first run python experiment_rotation.py simple_conv digits --keep-epochs --plots-dir" in told


def series_path(home):
    return home / "variance_results" / "values" / "while-training" / "simple_conv_digits_rotation_mean.pickle"


def test_each_epoch_is_measured_like_the_network_alone(trained_home):
    series = load_series(series_path(trained_home))
    test = load_dataset("digits", None, samples=30).test
    for trained_on, last in EPOCHS.items():
        results = series.results(trained_on)
        assert [*results] == [*range(last + 1)]
        for epoch, result in results.items():
            network = initial_network("simple_conv", 1, 10, 0)
            network.load_state_dict(trained_until(trained_on, epoch))
            scale = load_model(place(trained_home) / "unrotated.pt").normalization
            alone = measure_variance(network.eval(), test.images, test.labels, rotations(4), preprocess=scale)
            assert result.layer_names == alone.layer_names
            # channels_last sums the products of a convolution in another order
            np.testing.assert_allclose(result.tv_classes, alone.tv_classes, rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(result.global_mean(), alone.global_mean(), rtol=1e-4)
    values = load_values(trained_home / "variance_results" / "values" / "simple_conv_digits_rotation_mean.pickle")
    for trained_on, last in EPOCHS.items():
        np.testing.assert_array_equal(series.results(trained_on)[last].tv_all, values.results[trained_on].tv_all)
    assert {name: len(history) for name, history in series.history.items()} == EPOCHS


def test_what_is_measured_is_not_measured_again_unless_it_changed(own_home, script, monkeypatch):
    command = (*MEASURE[1:], *folders(own_home), "--while-training")
    before = series_path(own_home).read_bytes()
    _, _, told = script("measure", *command, home=own_home)
    assert f"already measured: {series_path(own_home)}\n" in told
    assert series_path(own_home).read_bytes() == before
    (place(own_home) / "rotated.epochs" / "2.checkpoint").unlink()
    monkeypatch.setattr(experiment_variance, "available_memory", lambda device: 4)  # one network at a time
    _, _, told = script("measure", *command, home=own_home)
    assert f"{series_path(own_home)} belongs to another measurement: measuring its epochs again" in told
    found = load_series(series_path(own_home))
    assert [*found.results("rotated")] == [0, 1, 3, 4]
    old = load_series(series_path_of_copy(own_home, before))
    for epoch, result in found.results("rotated").items():
        np.testing.assert_allclose(result.tv_all, old.results("rotated")[epoch].tv_all, rtol=1e-12)


def series_path_of_copy(home, content):
    path = home / "copy.pickle"
    path.write_bytes(content)
    return path


def small_series(**changes):
    """Untrained, after epochs 2 and 3 of 4 for the rotated model, and trained."""
    first = of_layers([4, 3, 2])

    def after(share):
        return replace(first, tv_all=first.tv_all * share, tv_classes=first.tv_classes * share)

    content = {
        "pair": pair_of(after(0.9), after(0.2)),
        "earlier": {"unrotated": {0: first}, "rotated": {0: first, 2: after(0.6), 3: after(0.4)}},
        "history": {
            "unrotated": [Epoch(1.0, 0.5, 2.0)],
            "rotated": [Epoch(1.0, part / 5, 2.0) for part in range(1, 5)],
        },
    }
    return VarianceSeries(**content | changes)


def test_a_series_comes_back_as_it_went(tmp_path):
    series = small_series()
    save_series(tmp_path / "file", series)
    found = load_series(tmp_path / "file")
    assert found.history == series.history
    assert found.pair.protocol == series.pair.protocol
    for trained_on in PAIR:
        assert [*found.results(trained_on)] == [*series.results(trained_on)]
        for epoch, result in found.results(trained_on).items():
            np.testing.assert_array_equal(result.tv_all, series.results(trained_on)[epoch].tv_all)


def broken(change):
    """The content of a series that cannot be."""
    content = small_series().to_dict()
    rotated = content["earlier"]["rotated"]
    {
        "epoch": lambda: rotated.update({4: rotated.pop(3)}),
        "order": lambda: rotated.update({2: rotated.pop(2)}),
        "number": lambda: rotated.update({"3": rotated.pop(3)}),
        "layers": lambda: rotated[3].update(of_layers([4, 3, 2]).to_dict() | {"layer_names": ["a", "b", "c"]}),
        "model": lambda: content["earlier"].update(lucky=content["earlier"].pop("rotated")),
        "history": lambda: content["history"]["rotated"].__setitem__(0, asdict(Epoch(np.inf, 0.5, 1.0))),
        "control": lambda: content["pair"].update(control="shuffled"),
        "rounding": lambda: rotated[3].update(rounding=np.full(9, -1.0)),
    }[change]()
    return content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("epoch", "its rotated model has other epochs than its history"),
        ("order", "its rotated model has other epochs than its history"),
        ("number", "its earlier"),
        ("layers", "its results differ in their layer names"),
        ("model", "it is not of an unrotated and a rotated model"),
        ("history", "its history is impossible"),
        ("control", "it is of a control"),
        ("rounding", "its rounding bounds are impossible"),
    ],
)
def test_series_that_cannot_be_are_refused(tmp_path, change, reason):
    content = {"format": SERIES_FORMAT.name, "version": SERIES_FORMAT.version, "content": broken(change)}
    write_sealed(tmp_path / "file", SERIES_FORMAT, safe_pickle.dumps(content))
    with pytest.raises(FileError, match=f"cannot be read as a measurement while training .*{reason}"):
        load_series(tmp_path / "file")


@pytest.mark.parametrize("width", [None, 3.4])
def test_the_figure_shows_both_models_on_the_same_scales(tmp_path, width):
    series = small_series()
    figure = while_training_figure(series, "stratified", width=width)
    save_figure(figure, tmp_path / "figure.png")
    (*means, left, right, first, second), _ = figure.axes[:6], figure.axes[6:]
    images = [panel.get_images()[0] for panel in (left, right)]
    assert images[0].norm is images[1].norm
    tables = [
        np.array([[*result.layer_means("stratified").values()] for result in series.results(trained_on).values()]).T
        for trained_on in PAIR
    ]
    for image, table in zip(images, tables, strict=True):
        np.testing.assert_allclose(image.get_array(), table)
    assert images[0].norm.vmax == pytest.approx(max(table.max() for table in tables))
    assert means[0].get_ylim() == means[1].get_ylim()
    for panel, trained_on in zip(means, PAIR, strict=True):
        expected = [result.global_mean("stratified") for result in series.results(trained_on).values()]
        np.testing.assert_allclose(panel.get_lines()[0].get_ydata(), expected)
    np.testing.assert_array_equal(first.get_lines()[0].get_ydata(), [np.nan, 0.5])
    np.testing.assert_array_equal(second.get_lines()[0].get_ydata(), [np.nan, 0.4, 0.6, 0.8])
    assert [label.get_text() for label in second.get_xticklabels()] == ["0", "2", "3", "4"]
    told = " ".join(texts(figure).split())
    for text in ("simple_conv on digits: NV while training, stratified by class", "unrotated model", "rotated model"):
        assert text in told
    varying = while_training_figure(series, varying=True)
    assert "all samples, only units that vary" in " ".join(varying.get_suptitle().split())
    expected = [result.global_mean(varying=True) for result in series.results("rotated").values()]
    np.testing.assert_allclose(varying.axes[1].get_lines()[0].get_ydata(), expected)


@pytest.mark.parametrize("wrong", [None, {0: of_layers([2])}, of_layers([2]), pair_of()])
def test_what_is_no_series_is_refused(wrong):
    told = f"^series is of type {type(wrong).__name__}: draw results by epoch with series_figure"
    with pytest.raises(InputError, match=told):
        while_training_figure(wrong)


def test_a_series_of_one_network_has_neither_names_nor_accuracy():
    results = small_series().results("rotated")
    figure = series_figure(results)
    assert len(figure.axes) == 3
    assert "model" not in texts(figure)
    np.testing.assert_allclose(
        figure.axes[0].get_lines()[0].get_ydata(), [result.global_mean() for result in results.values()]
    )


def test_the_figures_of_a_series_are_planned_and_outdated_ones_are_told(trained_home, own_home, script):
    found = find_results(own_home / "variance_results")
    assert found.errors == []
    planned = [plot for plot in plan(found, Look()) if plot.kind == "while-training"]
    assert [plot.name for plot in planned] == [
        "simple_conv_digits/rotation_mean_while-training_all",
        "simple_conv_digits/rotation_mean_while-training_stratified",
    ]
    assert [plot.of["group"] for plot in planned] == ["all", "stratified"]
    command = ("--only", "while-training", *folders(own_home))
    code, _, told = script("draw", *command, home=own_home)
    assert (code, "2 figures, 2 of them new" in told) == (0, True)
    page = (own_home / "plots" / "index.html").read_text()
    assert "simple_conv on digits: NV while training, all samples" in page
    trained = load_model(place(own_home) / "rotated.pt")
    save_model(
        place(own_home) / "rotated.pt", replace(trained, weights={**trained.weights, "conv1.bias": torch.ones(32)})
    )
    code, _, told = script("draw", *command, home=own_home)
    assert told.count("measured before its models were replaced") == 2
    series_path(own_home).write_bytes(b"no series")
    code, told, _ = script("draw", "--only", "training", *folders(own_home), home=own_home)
    assert code == 1
    assert "simple_conv_digits_rotation_mean.pickle cannot be read as a measurement while training" in told
