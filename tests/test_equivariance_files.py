"""Equivariance on the command line: measured, kept in files, drawn and in tables."""

import csv
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import complete_pair, equivariance, equivariance_pair, found_in, pair_of, texts, untrained
from torch.nn.functional import conv2d

import experiment_variance
from pytorch.claims import claims_tables
from pytorch.datasets import load_dataset
from pytorch.errors import FileError
from pytorch.experiments.provenance import file_digest
from pytorch.experiments.storage import VALUES_FORMAT, load_model, load_values, save_values
from pytorch.experiments.vocabulary import PAIR
from pytorch.figures.style import MODEL_COLOURS
from pytorch.files import safe_pickle
from pytorch.files.sealed_file import Format, write_sealed
from pytorch.report.findings import find_results
from pytorch.report.gallery import Look, plan
from pytorch.report.rows import csv_text
from pytorch.report.tables import results_tables
from pytorch.variance.equivariance import EquivarianceResult

SMALL = ("simple_conv", "digits", "--samples", "30", "--steps", "4")
TURNED = "simple_conv_digits_rotation_same-equivariance.pickle"


@pytest.fixture
def values(home, tmp_path):
    """A copy of the trained pair and its measurement; the folder of measurements."""
    shutil.copytree(home / "variance_results", tmp_path / "variance_results")
    return tmp_path / "variance_results" / "values"


def nv_of_quarter_turns(maps):
    """NV of each channel of (T, N, C, H, W), the maps under rotations by 0°, 90°, ..., by the definition."""
    back = np.stack([np.rot90(each, -turn, axes=(-2, -1)) for turn, each in enumerate(maps)])
    tv = back.std(axis=0, ddof=1).mean(axis=(0, 2, 3))
    return tv / back.std(axis=1, ddof=1).mean(axis=(0, 2, 3))


def test_both_adds_what_is_missing_and_measures_nothing_twice(values, script):
    (before,) = values.iterdir()
    digest = file_digest(before)
    code, _, out = script("measure", *SMALL, "--measure", "both", "--positions", "all")
    assert code == 0
    assert f"already measured: {before}" in out
    assert f"values: {values / TURNED}" in out
    assert file_digest(before) == digest
    pair = load_values(values / TURNED)
    images = load_dataset("digits", None, 30).test.images
    for name, result in pair.results.items():
        trained = load_model(values.parent / "models" / "simple_conv_digits" / f"{name}.pt")
        conv, scale = trained.network().conv1, trained.normalization
        turned = [scale(torch.rot90(images, turn, (2, 3)).float()) for turn in range(4)]
        maps = [conv2d(each.double(), conv.weight.double(), conv.bias.double(), padding=1) for each in turned]
        expected = nv_of_quarter_turns(np.stack([each.detach().numpy() for each in maps]))
        np.testing.assert_allclose(result.normalized_variance()["conv1"], expected, rtol=1e-3)
        assert (len(result.positions[0]), result.samples, result.classes) == (32 * 32, 30, [])
        assert f"{result.global_mean():.4f} ± {result.global_error():.4f}" in out
    assert f"{result.floor:.4f} ± {result.floor_error:.4f}" in out
    digest = file_digest(values / TURNED)
    code, _, out = script("measure", *SMALL, "--measure", "both", "--positions", "2000")
    assert (code, out.count("already measured: "), file_digest(values / TURNED)) == (0, 2, digest)
    code, told, _ = script("measure", *SMALL, "--measure", "equivariance")
    assert (code, len(told.splitlines())) == (1, 1)
    assert f"{TURNED} was measured with positions 1024, not 64: replace it with --overwrite" in told
    assert script("measure", *SMALL)[0] == 0, "a plain run needs the plain file alone"


def test_random_positions_are_those_of_the_seed(script, tmp_path, image_folder):
    """With all samples, the seed matters for nothing else."""
    assert script("train", "simple_conv", image_folder, "--epochs", "1", "--rotated-epochs", "1")[0] == 0
    options = ("simple_conv", image_folder, "--steps", "2", "--measure", "equivariance")
    assert script("measure", *options)[0] == 0
    folder = tmp_path / "variance_results" / "values"
    assert [path.name for path in folder.glob("*.pickle")] == [
        "simple_conv_folder-pets_rotation_same-equivariance.pickle"
    ]
    code, told, _ = script("measure", *options, "--seed", "1")
    assert (code, len(told.splitlines())) == (1, 1)
    assert "was measured with seed 0, not 1: " in told


def test_all_of_it_is_drawn_and_in_the_tables(values, script, tmp_path):
    both = ("--measure", "both", "--aggregation", "mean,max")
    for control in ((), ("--control", "random-weights")):
        assert script("measure", *SMALL, *both, *control)[0] == 0
    assert len(list(values.iterdir())) == 6
    assert script("draw", "--only", "equivariance", "max")[0] == 0
    assert [path.name for path in (tmp_path / "plots").rglob("*.png")] == ["rotation_max_equivariance.png"]
    page = (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")
    assert "simple_conv on digits: invariance against equivariance" in page
    assert "Each point is a layer, at the layer means of its invariance NV" in page
    turned, mean = (load_values(values / name) for name in (TURNED, "simple_conv_digits_rotation_mean.pickle"))
    found = find_results(values.parent)
    (plot,) = (each for each in plan(found, Look()) if each.name.endswith("rotation_mean_equivariance"))
    assert len(plot.sources) == 4
    figure = plot.draw()
    assert {"before training", "unrotated model", "rotated model"} <= set(texts(figure).splitlines())
    assert figure.get_suptitle().startswith(
        "simple_conv on digits: invariance against equivariance with 95 % intervals"
    )
    paths = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == len(mean.any_result.layer_names)]
    assert [line.get_color() for line in paths] == [MODEL_COLOURS[name] for name in ("untrained", *PAIR)]
    for line, name in zip(paths[1:], PAIR, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [*turned.results[name].layer_means().values()])
        np.testing.assert_array_equal(line.get_ydata(), [*mean.results[name].layer_means().values()])
    table = (tmp_path / "plots" / "results.md").read_text(encoding="utf-8")
    assert re.search(r"\| simple\\_conv \| digits \| rotation \| 4 \| same-equivariance \| all samples \| ", table)
    with (tmp_path / "plots" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["aggregation"] == "same-equivariance"]
    (row,) = (
        row for row in rows
        if (row["level"], row["quantity"], row["trained_on"]) == ("global", "normalized", "rotated")
    )  # fmt: skip
    result = turned.results["rotated"]
    assert float(row["value"]) == result.global_mean()
    assert float(row["standard_error"]) == result.global_error()


def test_a_network_from_elsewhere(script, tmp_path):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\ndef build():\n    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())\n"
        "    network.mean, network.std = (0.5,), (0.5,)\n    return network\n"
    )
    options = (tmp_path / "nets.py:build", "digits", "--samples", "20", "--steps", "4", "--measure", "both")
    assert script("measure", *options)[0] == 0
    (turned,) = (tmp_path / "variance_results" / "values").glob("*_same-equivariance.pickle")
    assert list(load_values(turned).results) == ["untrained"]
    assert script("measure", *options)[2].count("already measured: ") == 2
    assert script("draw", "--only", "equivariance")[0] == 0
    (figure,) = (tmp_path / "plots").rglob("*.png")
    assert figure.name == "rotation_mean_equivariance.png"


def test_what_cannot_be_measured_is_told_before_anything_is(values, script, monkeypatch):
    monkeypatch.setattr("pytorch.variance.measure.single_pass", lambda *arguments: pytest.fail("measured"))
    monkeypatch.setattr(experiment_variance, "transformation_set", lambda name, steps: [torch.abs, torch.neg])
    code, told, _ = script("measure", *SMALL, "--measure", "both")
    assert (code, len(told.splitlines())) == (1, 1)
    assert "abs" in told
    assert "has no inverse, which equivariance needs" in told
    assert [path.name for path in values.iterdir() if not path.name.startswith(".")] == [
        "simple_conv_digits_rotation_mean.pickle"
    ]


def test_a_measurement_comes_back_as_it_went(tmp_path):
    pair = equivariance_pair()
    save_values(tmp_path / "file", pair)
    found = load_values(tmp_path / "file")
    assert found.protocol == pair.protocol
    assert found.protocol.settings["positions"] == 3
    for name, expected in pair.results.items():
        result = found.results[name]
        assert isinstance(result, EquivarianceResult)
        np.testing.assert_array_equal(result.positions[0], expected.positions[0])
        assert len(result.positions[1]) == 0
        for field in ("map_sizes", "positions_kept", "relative_errors", "floor", "floor_error", "layer_names"):
            assert getattr(result, field) == getattr(expected, field), field
        assert result.layer_intervals() == expected.layer_intervals()


def test_a_file_of_the_version_before_is_read(tmp_path):
    pair = complete_pair()
    content = {"format": VALUES_FORMAT.name, "version": 5, "content": pair.to_dict()}
    write_sealed(tmp_path / "file", Format(VALUES_FORMAT.name, 5), safe_pickle.dumps(content))
    assert load_values(tmp_path / "file").results["rotated"].layer_intervals("stratified") == pair.results[
        "rotated"
    ].layer_intervals("stratified")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positions": [np.array([[0, 4]]), np.empty((0, 2), dtype=int)]}, "its positions are not those of its maps"),
        ({"positions": [np.array([[3, 0]]), np.empty((0, 2), dtype=int)]}, "its positions are not those of its maps"),
        ({"positions": [np.array([[-1, 0]]), np.empty((0, 2), dtype=int)]}, "its positions are not those of its maps"),
        ({"positions": [np.empty((0, 2), dtype=int)] * 2}, "its positions are not those of its maps"),
        ({"positions": [np.array([[0.0, 1.0]]), np.empty((0, 2), dtype=int)]}, "positions"),
        ({"positions": [np.array([0, 1]), np.empty((0, 2), dtype=int)]}, "positions"),
        ({"positions": [[[0, 1]], []]}, "positions"),
        ({"positions_kept": [2, 1]}, "its positions are not those of its maps"),
        ({"positions_kept": [13, 1]}, "its positions are not those of its maps"),
        ({"positions_kept": [6, 2]}, "its positions are not those of its maps"),
        ({"map_sizes": [[3, 4], [2, 2]]}, "its positions are not those of its maps"),
        ({"map_sizes": [[-3, -4], []]}, "its positions are not those of its maps"),
        ({"map_sizes": [[3, 4, 5], []]}, "cannot be read"),
        ({"map_sizes": [[3.0, 4.0], []]}, "its map_sizes"),
        ({"relative_errors": [0.5]}, "every layer needs positions and an error"),
        ({"relative_errors": [0.5, -0.5]}, "its errors or its floor are below 0"),
        ({"floor": -1.0}, "its errors or its floor are below 0"),
        ({"floor_error": -1.0}, "its errors or its floor are below 0"),
        ({"floor": "low"}, "cannot be read"),
        ({"floor": None}, "cannot be read"),
        ({"aggregation": "mean"}, "unexpected keyword argument"),
        ({"surplus": 1}, "unexpected keyword argument"),
    ],
)
def test_results_that_cannot_be_are_refused(tmp_path, change, reason):
    content = equivariance_pair().to_dict()
    for found in content["results"].values():
        found.update(change)
    container = {"format": VALUES_FORMAT.name, "version": VALUES_FORMAT.version, "content": content}
    write_sealed(tmp_path / "file", VALUES_FORMAT, safe_pickle.dumps(container))
    with pytest.raises(FileError, match=reason):
        load_values(tmp_path / "file")


def test_an_equivariance_without_its_own_fields_is_refused(tmp_path):
    content = pair_of().to_dict()
    for found in content["results"].values():
        found["aggregation"] = "same-equivariance"
    container = {"format": VALUES_FORMAT.name, "version": VALUES_FORMAT.version, "content": content}
    write_sealed(tmp_path / "file", VALUES_FORMAT, safe_pickle.dumps(container))
    with pytest.raises(FileError, match="missing 6 required keyword-only arguments"):
        load_values(tmp_path / "file")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(3, 3), (6, 6), (2, 2), (64, 64), (None, "all")],
    ids=["same", "kept", "less", "more", "all"],
)
def test_positions_are_compared_map_by_map(asked, expected):
    assert equivariance().positions_for(asked) == expected
    every = np.argwhere(np.ones((3, 2)))
    whole = equivariance(positions=[every, np.empty((0, 2), dtype=int)])
    assert whole.positions_for(asked) == (6 if asked in (6, 64, None) else asked)


def test_rows_have_the_floor_and_the_error_of_each_layer():
    rows = list(csv.DictReader(csv_text([equivariance_pair()]).splitlines()))
    errors = [row for row in rows if row["quantity"] == "equivariance error" and row["trained_on"] == "rotated"]
    assert [(row["level"], row["layer"], row["value"]) for row in errors] == [
        ("layer", "conv", "0.25"), ("layer", "linear", "0.5")
    ]  # fmt: skip
    assert {row["standard_error"] + row["low95"] + row["varying_value"] for row in errors} == {""}
    (floor,) = (row for row in rows if row["quantity"] == "floor" and row["trained_on"] == "rotated")
    assert (floor["level"], floor["value"], floor["standard_error"], floor["units"]) == (
        "global",
        "0.125",
        "0.0625",
        "0",
    )
    assert float(floor["high95"]) == pytest.approx(0.125 + 1.959964 * 0.0625)
    assert {row["group"] for row in rows} == {"all"}


def test_tables_name_the_floor_and_the_errors_of_the_layers():
    tables = {table.name: table for table in results_tables([pair_of(), equivariance_pair()])}
    assert "same-equivariance" in {cell for row in tables["global-means"].rows for cell in row}
    assert "Its units are channels" in tables["global-means"].caption
    layers = tables["layers-simple-conv-digits-rotation-same-equivariance"]
    assert "have an NV of 0.125 ± 0.062 (floor)" in layers.caption
    assert "Equivariance error: the root mean square" in layers.caption
    column = layers.columns.index("equivariance error, rotated")
    assert [row[column].value for row in layers.rows] == [0.25, 0.5]
    alone = results_tables([pair_of()])
    assert not any("quivariance" in table.caption for table in alone)


def test_the_claims_are_about_invariance_alone():
    expected = claims_tables(found_in(pair_of()))
    assert expected
    assert claims_tables(found_in(pair_of(), equivariance_pair())) == expected
    assert claims_tables(found_in(equivariance_pair())) == []


@pytest.mark.parametrize("change", [{"weights": {}}, {"model": "resnet"}, {"transformation": "scale"}])
def test_only_measurements_of_the_same_networks_are_drawn_together(change):
    def kinds(*pairs):
        return [plot.kind for plot in plan(found_in(*pairs), Look())]

    assert kinds(pair_of(), equivariance_pair()).count("equivariance") == 1
    assert "equivariance" not in kinds(pair_of(), replace(equivariance_pair(), **change))
    assert "equivariance" not in kinds(pair_of())
    assert "equivariance" not in kinds(equivariance_pair(), untrained())
