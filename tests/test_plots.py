"""The script that draws: what is there, what is new, what was asked for, and nothing twice."""

import json
import os
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
from builders import result

import plot_variances_models
from pytorch.errors import FileError, InputError
from pytorch.experiments.provenance import file_digest
from pytorch.experiments.storage import model_file, save_model, save_values, values_file
from pytorch.experiments.trained_model import weights_digest
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import ROTATED, UNROTATED
from pytorch.figures.cells import pair_scales
from pytorch.report.album import Album
from pytorch.report.findings import Findings, Measured, find_results
from pytorch.report.gallery import Look, plan


def save(results_dir, pair):
    place = pair.model, pair.dataset, pair.transformation, pair.aggregation, pair.control
    save_values(values_file(results_dir, *place), pair)


@pytest.fixture
def folders(tmp_path, pair):
    save(tmp_path / "results", pair)
    return ["--results-dir", str(tmp_path / "results"), "--plots-dir", str(tmp_path / "plots")]


def draw(folders, *options):
    return plot_variances_models.main([*options, *folders])


def written(tmp_path):
    return {
        str(path.relative_to(tmp_path / "plots")): path.stat().st_mtime_ns
        for path in (tmp_path / "plots").rglob("*.png")
    }


def test_accuracy_against_the_angle_stands_beside_rotations_alone(tmp_path, pair):
    results = {name: replace(found, aggregation="sum") for name, found in pair.results.items()}
    save(tmp_path / "results", replace(pair, transformation="scale", results=results))
    draw(["--results-dir", str(tmp_path / "results"), "--plots-dir", str(tmp_path / "plots")])
    assert not [name for name in written(tmp_path) if "overview" in name]


def test_everything_is_drawn_and_put_on_a_page(folders, tmp_path, pair, capsys):
    assert draw(folders) == 0
    drawn = {f"simple_conv_digits/rotation_mean_{name}.png" for name in (
        "heatmap_all", "heatmap_stratified", "heatmap_class0_ant", "heatmap_class2_cow", "layers", "classes",
        "class-layers", "class-units", "overview")}  # fmt: skip
    assert set(written(tmp_path)) == {*drawn, "digits_rotation_mean_depth.png"}
    page = (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")
    assert "simple_conv" in page
    assert {"results.csv", "results.md", "results.tex"} <= {path.name for path in (tmp_path / "plots").iterdir()}
    assert "10 figures, 10 of them new" in capsys.readouterr().out


def test_tables_that_cannot_be_made_stop_no_others(folders, tmp_path, monkeypatch, capsys):
    def fail(found):
        raise ZeroDivisionError("of nothing")

    monkeypatch.setattr(plot_variances_models, "claims_tables", fail)
    assert draw(folders, "--only", "layers") == 1
    assert capsys.readouterr().err == "error: the tables of claims cannot be made: ZeroDivisionError, of nothing\n"
    assert "Global mean" in (tmp_path / "plots" / "results.md").read_text()


def test_what_is_unchanged_is_not_drawn_again(folders, tmp_path, pair):
    only = ("--only", "layers,depth")
    draw(folders, *only)
    before = written(tmp_path)
    assert len(before) == 2
    draw(folders, *only)
    assert written(tmp_path) == before
    (tmp_path / "plots" / "digits_rotation_mean_depth.png").unlink()
    draw(folders, *only)
    after = written(tmp_path)
    layers = "simple_conv_digits/rotation_mean_layers.png"
    assert after[layers] == before[layers]
    assert set(after) == set(before)


@pytest.mark.parametrize("change", ["values", "width", "varying", "list", "control"])
def test_what_is_changed_is_drawn_again(folders, tmp_path, pair, change):
    only = ("--only", "layers")
    draw(folders, *only)
    before = written(tmp_path)
    options = {"width": ("--width", "5"), "varying": ("--varying",)}.get(change, ())
    if change == "values":
        save(tmp_path / "results", VariancePair(**{**vars(pair), "seed": 5}))
    if change == "list":
        (tmp_path / "plots" / "figures.json").write_text("{")
    if change == "control":
        save(tmp_path / "results", VariancePair(**{**vars(pair), "control": "shuffled"}))
    draw(folders, *only, *options)
    after = written(tmp_path)
    assert all(after[name] != before[name] for name in before)


def test_what_leaves_out_units_that_never_vary_says_so(folders, tmp_path):
    """Figures of both kinds can be side by side: each keeps its title and its command."""
    draw(folders, "--varying")
    draw(folders, "--only", "classes")
    listed = json.loads((tmp_path / "plots" / "figures.json").read_text())["figures"]
    told = {figure["name"].split("rotation_mean_")[1] for figure in listed if "units that vary" in figure["title"]}
    kinds = {"layers", "class-layers", "overview", "depth", *(figure["of"].get("group") for figure in listed)} - {None}
    assert {name.removeprefix("heatmap_").split("_")[-1] for name in told} == kinds
    commands = {figure["name"].split("rotation_mean_")[1]: figure["command"] for figure in listed}
    assert "--varying" not in commands["classes"]
    assert all("--varying" in commands[name] for name in told)


def test_tables_and_page_leave_out_units_that_never_vary_where_asked(folders, tmp_path):
    def written(*options):
        draw(folders, "--only", "layers", *options)
        return [
            (tmp_path / "plots" / name).read_text(encoding="utf-8")
            for name in ("results.csv", "results.md", "index.html")
        ]

    published, varying = written(), written("--varying")
    assert published[0] == varying[0], "the rows have both"
    assert "only units that vary" not in published[1] + published[2]
    assert "Global mean of the normalized variance, only units that vary" in varying[1]
    assert "Most and least invariant layers, only units that vary" in varying[2]
    assert '"varying":true' in varying[2]


def test_it_is_said_which_classes_have_no_two_samples(tmp_path, pair, capsys):
    save(tmp_path / "results", pair)
    assert draw(["--results-dir", str(tmp_path / "results"), "--only", "all", "--plots-dir", str(tmp_path / "p")]) == 0
    told = "simple_conv on digits, rotation, mean: no heatmap is drawn of classes of fewer than two samples: bee\n"
    assert told in capsys.readouterr().out


def test_it_is_said_that_no_class_has_two_samples(tmp_path, pair, capsys):
    results = {
        name: replace(found, class_counts=np.array([1, 1, 1]), samples=3) for name, found in pair.results.items()
    }
    save(tmp_path / "results", replace(pair, results=results))
    assert draw(["--results-dir", str(tmp_path / "results"), "--plots-dir", str(tmp_path / "plots")]) == 0
    told = (
        "simple_conv on digits, rotation, mean: nothing stratified or of single classes is drawn, because no class has"
    )
    assert told in capsys.readouterr().out
    assert not [name for name in written(tmp_path) if "stratified" in name or "class" in name]


def test_figures_of_results_that_are_gone_leave_the_page_and_stay_on_the_disk(folders, tmp_path, pair, capsys):
    other = VariancePair(**{**vars(pair), "model": "resnet"})
    save(tmp_path / "results", other)
    draw(folders, "--only", "layers")
    values_file(tmp_path / "results", "resnet", "digits", "rotation", "mean").unlink()
    capsys.readouterr()
    draw(folders, "--only", "layers")
    stale = tmp_path / "plots" / "resnet_digits" / "rotation_mean_layers.png"
    assert f"left out of the page: 1 in {stale.parent}" in capsys.readouterr().out
    assert stale.exists()
    listed = json.loads((tmp_path / "plots" / "figures.json").read_text())["figures"]
    assert [entry["of"]["model"] for entry in listed] == ["simple_conv"]


def test_a_list_of_figures_leads_nowhere_else(folders, tmp_path):
    draw(folders, "--only", "layers")
    path = tmp_path / "plots" / "figures.json"
    content = json.loads(path.read_text())
    (tmp_path / "secret.png").write_bytes(b"secret")
    content["figures"].append({**content["figures"][0], "name": "../secret"})
    path.write_text(json.dumps(content))
    draw(folders, "--only", "layers")
    assert "secret" not in (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")
    assert [plot.name for plot in Album(tmp_path / "plots").figures()] == ["simple_conv_digits/rotation_mean_layers"]


def test_words_choose_figures(pair):
    figures = plan(Findings([Measured(pair, "digest")]), Look())
    kinds = {figure.kind for figure in plot_variances_models.chosen(figures, ["Simple-Conv", "class_layers,heatmap"])}
    assert kinds == {"class-layers", "heatmap"}
    (one,) = plot_variances_models.chosen(figures, ["heatmap", "ant"])
    assert one.of["group"] == "ant"
    with pytest.raises(InputError, match="unknown figure of these results 'heatmaps': did you mean heatmap"):
        plot_variances_models.chosen(figures, ["heatmaps"])


def test_the_command_of_a_figure_draws_it_alone(folders, tmp_path):
    draw(folders, "--only", "class-units", "--sort")
    (entry,) = json.loads((tmp_path / "plots" / "figures.json").read_text())["figures"]
    _, script, *arguments = shlex.split(entry["command"])
    assert script == "plot_variances_models.py"
    for path in (tmp_path / "plots").rglob("*.png"):
        path.unlink()
    assert plot_variances_models.main(arguments) == 0
    assert list(written(tmp_path)) == ["simple_conv_digits/rotation_mean_class-units.png"]


def test_trained_pairs_are_found_with_those_of_other_seeds(trained, tmp_path):
    for seed, place in ((4, ""), (5, "seed5")):
        for trained_on in (UNROTATED, ROTATED):
            path = model_file(tmp_path, "simple_conv", "digits", trained_on)
            model = replace(trained, seed=seed, trained_on=trained_on)
            save_model(path.parent / place / path.name, model)
    found = find_results(tmp_path)
    (pairs,) = found.trained.values()
    assert [models[UNROTATED].seed for models in pairs.pairs] == [4, 5]
    assert {figure.kind for figure in plan(found, Look())} == {"training", "accuracy", "angles"}


def test_pairs_that_were_trained_otherwise_are_not_averaged(trained, tmp_path):
    others = {
        "": trained,
        "seed4": trained,
        "seed5": replace(trained, seed=5, recipe=replace(trained.recipe, epochs=1)),
    }
    for place, model in others.items():
        for trained_on in (UNROTATED, ROTATED):
            path = model_file(tmp_path, "simple_conv", "digits", trained_on)
            model = replace(model, trained_on=trained_on)
            save_model(path.parent / place / path.name, replace(model, history=trained.history[: model.epochs]))
    found = find_results(tmp_path)
    assert len(found.trained["simple_conv", "digits"].pairs) == 1
    assert len(found.notes) == 2
    assert all("in more than the seed, or not in the seed" in note for note in found.notes)


@pytest.mark.parametrize("fault", ["copied", "swapped", "mixed", "being replaced"])
def test_models_that_are_not_where_they_belong_are_named_and_left_out(trained, tmp_path, fault):
    seeds = {UNROTATED: 5, ROTATED: 4} if fault == "mixed" else {}
    for model, dataset in (("simple_conv", "digits"), ("simple_conv", "mnist")):
        for trained_on in (UNROTATED, ROTATED):
            named = replace(trained, trained_on=trained_on, dataset=dataset, seed=seeds.get(trained_on, 4))
            save_model(model_file(tmp_path, model, dataset, trained_on), replace(named, seed=4) if dataset == "mnist"
                       else named)  # fmt: skip
    folder = tmp_path / "models" / "simple_conv_digits"
    if fault == "copied":
        shutil.copytree(folder, folder.with_name("simple_conv_digits_backup"))
    if fault == "swapped":
        folder.joinpath("rotated.pt").rename(folder / "other")
        folder.joinpath("unrotated.pt").rename(folder / "rotated.pt")
        folder.joinpath("other").rename(folder / "unrotated.pt")
    if fault == "being replaced":
        (folder / "complete").write_text('["."]')
    found = find_results(tmp_path)
    told = {
        "copied": "_backup: unrotated.pt is ignored: it was moved there and holds the unrotated simple_conv of digits",
        "swapped": "unrotated.pt is ignored: it was moved there and holds the rotated simple_conv of digits",
        "mixed": "the two models are not a pair, the rotated one was trained with seed 4, not 5",
        "being replaced": "new models were being put in place",
    }[fault]
    assert len(found.errors) == 1
    assert told in found.errors[0]
    assert set(found.trained) == {("simple_conv", "mnist"), *([("simple_conv", "digits")] * (fault == "copied"))}


def test_a_long_name_of_a_class_stops_nothing(tmp_path, pair, capsys):
    long = "x" * 240
    classes, counts = [long, f"{long}y", "bee"], np.array([2, 2, 2])
    results = {name: replace(each, classes=classes, class_counts=counts) for name, each in pair.results.items()}
    save(tmp_path / "results", VariancePair(**{**vars(pair), "results": results, "angle_curves": {}}))
    assert draw(["--results-dir", str(tmp_path / "results"), "--plots-dir", str(tmp_path / "plots")]) == 0
    assert sum("heatmap_class" in name for name in written(tmp_path)) == 3


def test_measurements_of_the_models_that_are_there_are_not_outdated(pair, trained, tmp_path):
    for trained_on in (UNROTATED, ROTATED):
        save_model(model_file(tmp_path, "simple_conv", "digits", trained_on), replace(trained, trained_on=trained_on))
    found = find_results(tmp_path)
    digest = weights_digest(trained.weights)
    assert found.outdated(pair)
    assert not found.outdated(VariancePair(**{**vars(pair), "weights": {UNROTATED: digest, ROTATED: digest}}))


def test_it_is_said_when_models_were_trained_anew(folders, trained, tmp_path, capsys):
    for trained_on in (UNROTATED, ROTATED):
        path = model_file(tmp_path / "results", "simple_conv", "digits", trained_on)
        save_model(path, replace(trained, trained_on=trained_on))
    draw(folders, "--only", "layers")
    assert "simple_conv on digits, rotation, mean: measured before its models were replaced" in capsys.readouterr().out


def test_one_bad_file_stops_nothing_else(folders, tmp_path, capsys):
    (tmp_path / "results" / "values" / "bad.pickle").write_bytes(b"nonsense")
    assert draw(folders, "--only", "layers") == 1
    assert len(written(tmp_path)) == 1
    assert "bad.pickle cannot be read as a measurement" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["dangling link", "folder", "pipe"])
def test_what_is_no_file_stops_nothing_else(folders, tmp_path, capsys, kind):
    path = tmp_path / "results" / "values" / "bad.pickle"
    {"dangling link": lambda: path.symlink_to("gone"), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    assert draw(folders, "--only", "layers") == 1
    assert len(written(tmp_path)) == 1
    assert "bad.pickle cannot be read" in capsys.readouterr().err


def test_a_figure_that_cannot_be_drawn_stops_nothing_else(folders, tmp_path, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError("of\nnobody")

    monkeypatch.setattr("pytorch.report.gallery.class_units_figure", fail)
    assert draw(folders) == 1
    assert len(written(tmp_path)) == 9
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == (
        "error: simple_conv_digits/rotation_mean_class-units cannot be drawn: ZeroDivisionError, of\\nnobody"
    )


def test_a_folder_of_figures_that_is_full_is_told_once(folders, tmp_path, monkeypatch):
    def fail(*arguments):
        raise FileError("no space left")

    monkeypatch.setattr("pytorch.report.album.save_figure", fail)
    with pytest.raises(FileError, match="no space left"):
        draw(folders)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 200_000,
        b'{"version": 1, "figures": [{"name": 1}]}',
        b"\xff\xfe",
        b'{"version": 1, "figures": 5}',
        b"1",
    ],
)
def test_a_list_of_figures_that_is_none_is_made_anew(folders, tmp_path, content):
    draw(folders, "--only", "layers")
    path = tmp_path / "plots" / "figures.json"
    path.write_bytes(content)
    assert draw(folders, "--only", "layers") == 0
    assert len(json.loads(path.read_text())["figures"]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"of": "x"},
        {"name": "y" * 300, "kind": "units", "sources": []},
        {"files": {"gif": "0"}},
        {"name": "/etc/x"},
    ],
)
def test_an_odd_entry_of_the_list_stops_nothing(folders, tmp_path, changes):
    draw(folders, "--only", "layers")
    path = tmp_path / "plots" / "figures.json"
    content = json.loads(path.read_text())
    content["figures"].append({**content["figures"][0], **changes})
    path.write_text(json.dumps(content))
    assert draw(folders, "--only", "layers") == 0
    assert [plot.name for plot in Album(tmp_path / "plots").figures()] == ["simple_conv_digits/rotation_mean_layers"]


def test_a_listed_picture_that_is_none_is_left_out_of_the_page_and_told(folders, tmp_path, capsys):
    draw(folders, "--only", "layers")
    path, picture = tmp_path / "plots" / "figures.json", tmp_path / "plots" / "odd.png"
    picture.write_bytes(b"GIF89a")
    content = json.loads(path.read_text())
    entry = {"name": "odd", "kind": "units", "sources": [], "files": {"png": file_digest(picture)}}
    content["figures"].append({**content["figures"][0], **entry})
    path.write_text(json.dumps(content))
    assert draw(folders, "--only", "layers") == 1
    assert "odd.png cannot be read as a figure" in capsys.readouterr().err
    assert "simple_conv" in (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")


def test_controls_stand_beside_their_own_pair(pair):
    shuffled = VariancePair(**{**vars(pair), "control": "shuffled"})
    others = VariancePair(**{**vars(shuffled), "weights": {"unrotated": "5" * 16, "rotated": "6" * 16}})
    found = Findings([Measured(each, str(index)) for index, each in enumerate((pair, others, shuffled))])
    assert [measured.digest for measured in found.controls(pair)] == ["2"]
    figures = [figure for figure in plan(found, Look()) if figure.kind == "layers"]
    assert [figure.sources for figure in figures] == [("0", "2"), ("1",), ("2",)]


def test_a_control_has_the_colours_of_what_it_controls(pair, monkeypatch):
    monkeypatch.setattr("pytorch.report.gallery.heatmap_figure", lambda pair, group, **options: options["scales"])
    larger = {name: replace(each, tv_all=3 * each.tv_all) for name, each in pair.results.items()}
    shuffled = VariancePair(**{**vars(pair), "control": "shuffled", "results": larger})

    def of_control(*pairs):
        figures = plan(Findings([Measured(each, str(index)) for index, each in enumerate(pairs)]), Look())
        return next(each for each in figures if each.of.get("control") and each.kind == "heatmap")

    beside, alone = of_control(pair, shuffled), of_control(shuffled)
    assert (beside.sources, alone.sources) == (("1", "0"), ("0",))
    assert (beside.draw(), alone.draw()) == (pair_scales(pair), pair_scales(shuffled))
    assert alone.draw().top > beside.draw().top


def test_networks_of_other_steps_have_a_figure_of_their_own(pair):
    three = result(transformations=["0", "1", "2"])
    finer = VariancePair(**{**vars(pair), "model": "resnet", "results": {"unrotated": three, "rotated": three}})
    figures = plan(Findings([Measured(pair, "a"), Measured(finer, "b")]), Look())
    names = [figure.name for figure in figures if figure.kind == "depth"]
    assert names == ["digits_rotation_mean_2steps_depth", "digits_rotation_mean_3steps_depth"]


def test_other_formats_are_kept_up_to_date(folders, tmp_path, pair):
    draw(folders, "--only", "layers", "--format", "pdf")
    path = tmp_path / "plots" / "simple_conv_digits" / "rotation_mean_layers.pdf"
    before = path.read_bytes()
    save(
        tmp_path / "results",
        VariancePair(**{**vars(pair), "results": {name: result(samples=7) for name in pair.results}}),
    )
    draw(folders, "--only", "layers")
    assert path.read_bytes() != before


def test_a_figure_that_something_else_wrote_is_drawn_again(folders, tmp_path):
    draw(folders, "--only", "layers")
    path = tmp_path / "plots" / "simple_conv_digits" / "rotation_mean_layers.png"
    before = path.read_bytes()
    path.write_bytes(before[:1000])
    draw(folders, "--only", "layers")
    assert path.read_bytes() == before


def test_a_figure_of_fewer_networks_leaves_the_page(folders, tmp_path, pair):
    draw(folders, "--only", "depth")
    save(tmp_path / "results", VariancePair(**{**vars(pair), "model": "resnet"}))
    draw(folders, "--only", "layers")
    assert {figure.kind for figure in Album(tmp_path / "plots").figures()} == {"layers"}


def test_the_same_measurement_twice_is_an_error(folders, tmp_path, capsys):
    values = tmp_path / "results" / "values"
    shutil.copy(values / "simple_conv_digits_rotation_mean.pickle", values / "z_copy.pickle")
    assert draw(folders, "--only", "layers") == 1
    assert "z_copy.pickle is ignored: it holds the same measurement as" in capsys.readouterr().err


def test_units_that_cannot_be_shown_stop_nothing_else(folders, tmp_path, capsys):
    assert draw(folders, "--only", "layers,units", "--units", "linear") == 1
    assert "units of simple_conv on digits cannot be shown: its models are missing" in capsys.readouterr().err
    assert len(written(tmp_path)) == 1
    assert (tmp_path / "plots" / "index.html").exists()


def test_units_of_a_layer_that_nothing_has(folders):
    with pytest.raises(InputError, match="unknown layer 'liner': did you mean linear"):
        draw(folders, "--units", "liner")


@pytest.mark.parametrize("options", [("--width", "1"), ("--format", "gif"), ("--width", "wide")])
def test_wrong_options_are_told(folders, options, capsys):
    with pytest.raises(SystemExit) as exit_:
        draw(folders, *options)
    assert exit_.value.code == 2
    assert options[1] in capsys.readouterr().err


def test_nothing_measured(tmp_path):
    with pytest.raises(FileError, match="make one with"):
        draw(["--results-dir", str(tmp_path), "--plots-dir", str(tmp_path / "plots")])
    assert not (tmp_path / "plots").exists()


def test_formats_for_papers_stand_beside_the_picture(folders, tmp_path):
    draw(folders, "--only", "layers", "--format", "pdf,svg")
    folder = tmp_path / "plots" / "simple_conv_digits"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"rotation_mean_layers.{form}" for form in ("pdf", "png", "svg")
    ]
    assert np.frombuffer((folder / "rotation_mean_layers.pdf").read_bytes()[:4], "S1").tobytes() == b"%PDF"
