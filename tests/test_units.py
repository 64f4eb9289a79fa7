"""The units themselves: the right ones, driven by the right images, along the right curves."""

import gc
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import errors, found_in, pair_of, result, texts
from matplotlib.colors import to_hex
from torch import nn

from pytorch.datasets import load_dataset
from pytorch.errors import InputError
from pytorch.experiments.unit_examples import UnitExamples, extreme_units, unit_examples
from pytorch.figures import save_figure
from pytorch.figures.style import TITLE_SIZE
from pytorch.figures.unit_plots import IMAGE_COLOURS, units_figure
from pytorch.report.findings import Findings, Trained
from pytorch.report.unit_gallery import plan_units
from pytorch.transformations import rotations
from pytorch.variance import measure_variance

TURNS = rotations(5)


def one_layer(tv, sv, **changes):
    """A result of one layer, called conv, whose classes are as all samples."""
    tv, sv = np.array(tv, dtype=float), np.array(sv, dtype=float)
    content = {"layer_shapes": [tv.shape, (0,)], "tv_all": tv, "sv_all": sv, "tv_classes": np.tile(tv, (3, 1))}
    return result(**{**content, "sv_classes": np.tile(sv, (3, 1)), **changes})


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (23, 2, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def scaled(images):
    return images.double() / 255 - 0.5


def activations(model, inputs):
    """Feature maps by hand, without hooks."""
    first = F.relu(model.norm(model.conv1(inputs)))
    second = F.relu(model.conv2(first) + first)
    left, right = second.chunk(2, dim=1)
    return {"conv1": model.conv1(inputs), "relu": first, "relu#2": second, "halves[1]": right,
            "linear": model.linear((left * right).mean(dim=(2, 3)))}  # fmt: skip


def table(model, pixels, layer, aggregation, transformations):
    """All activations, (N, units, T)."""
    reduce = {"mean": torch.mean, "max": torch.amax}[aggregation]
    with torch.no_grad():
        maps = [activations(model, scaled(change(pixels)))[layer] for change in transformations]
    return torch.stack([a if a.ndim == 2 else reduce(a, dim=(2, 3)) for a in maps], dim=-1).numpy()


@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
@pytest.mark.parametrize(
    ("layer", "aggregation"),
    [("relu", "mean"), ("relu#2", "max"), ("conv1", "max"), ("halves[1]", "mean"), ("linear", "mean")],
)
def test_examples_are_those_of_the_whole_table(reusing_model, pixels, layer, aggregation, batch_size):
    units = [2, 0]
    found = unit_examples(reusing_model, pixels, layer, units, TURNS, scaled, aggregation, batch_size)
    every = table(reusing_model, pixels, layer, aggregation, TURNS)[:, units]
    upright = table(reusing_model, pixels, layer, aggregation, [torch.clone])[:, units, 0]
    best = np.argsort(-upright, axis=0, kind="stable")[:3].T
    np.testing.assert_array_equal(found.images, best)
    np.testing.assert_allclose(found.activations, [every[best[row], row] for row in range(2)], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.mean, upright.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.sd, upright.std(axis=0, ddof=1), rtol=1e-12)
    assert (found.layer, found.units, found.samples) == (layer, units, 23)
    assert found.transformations[1] == "rotation by 72°"


def test_curves_of_all_images_give_the_measured_variances(reusing_model, pixels):
    measured = measure_variance(reusing_model, pixels, None, TURNS, scaled, "max")
    found = unit_examples(reusing_model, pixels, "relu#2", range(6), TURNS, scaled, "max", images_per_unit=99)
    assert found.activations.shape == (6, 23, 5)
    tv = found.activations.std(axis=2, ddof=1).mean(axis=1)
    sv = found.activations.std(axis=1, ddof=1).mean(axis=1)
    np.testing.assert_allclose(tv, measured.transformation_variance()["relu#2"], rtol=1e-10)
    np.testing.assert_allclose(sv, measured.sample_variance()["relu#2"], rtol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_of_equal_images_the_first_are_chosen(batch_size):
    pixels = torch.tensor([1, 3, 2, 3, 3, 1, 3], dtype=torch.uint8).reshape(-1, 1, 1, 1)
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    found = unit_examples(model, pixels, "1", [0], TURNS, batch_size=batch_size)
    assert found.images.tolist() == [[1, 3, 4]]


def test_images_become_what_the_model_computes_in(reusing_model, pixels):
    """As in a measurement: uint8 images, and a model in float64."""
    found = unit_examples(reusing_model, pixels, "conv1", [0], rotations(3))
    expected = unit_examples(reusing_model, pixels.double(), "conv1", [0], rotations(3))
    np.testing.assert_allclose(found.activations, expected.activations, rtol=1e-4)


def test_one_image_has_no_spread(reusing_model, pixels):
    found = unit_examples(reusing_model, pixels[:1], "linear", [1], TURNS, scaled)
    assert found.images.tolist() == [[0]]
    assert np.isnan(found.sd).all()
    assert np.isfinite(found.activations).all()


def test_memory_does_not_grow_with_the_number_of_images():
    """Bytes of tensors, and of all that Python allocates, arrays too, whenever the network runs."""
    seen = []

    class Watched(nn.Module):
        def forward(self, inputs):
            alive = [thing.untyped_storage() for thing in gc.get_objects() if type(thing) is torch.Tensor]
            of_tensors = sum({storage.data_ptr(): storage.nbytes() for storage in alive}.values())
            seen.append(of_tensors + tracemalloc.get_traced_memory()[0])
            return inputs.flatten(1).repeat(1, 100)

    images = torch.randint(0, 256, (64, 1, 2, 2), dtype=torch.uint8)
    tracemalloc.start()
    try:
        unit_examples(nn.Sequential(Watched()), images, "0", range(400), rotations(2), batch_size=4)
    finally:
        tracemalloc.stop()
    # After one call for the names come 16 batches, each with activations of 12800 bytes.
    assert max(seen[4:17]) - min(seen[4:17]) < 2 * 12800


def test_a_network_is_left_as_it_was(reusing_model, pixels):
    reusing_model.train()
    before = {name: values.clone() for name, values in reusing_model.state_dict().items()}
    given = pixels.clone()
    in_place = [torch.Tensor.zero_, *TURNS]
    found = unit_examples(reusing_model, pixels, "relu", [0], in_place, scaled, device="cpu")
    expected = unit_examples(reusing_model, pixels, "relu", [0], TURNS, scaled)
    np.testing.assert_array_equal(found.activations[..., 1:], expected.activations)
    assert reusing_model.training
    assert not any(module._forward_hooks for module in reusing_model.modules())
    assert all(torch.equal(values, before[name]) for name, values in reusing_model.state_dict().items())
    assert torch.equal(pixels, given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "relu#4"}, r"unknown layer 'relu#4': did you mean relu#3\? There are conv1, norm, relu, conv2, "),
        ({"layer": "linea"}, r"unknown layer 'linea': did you mean linear\?"),
        ({"units": [6]}, r"layer relu has 6 units"),
        ({"aggregation": "none"}, "with aggregation none every position"),
        ({"aggregation": "median"}, "unknown aggregation 'median'"),
        ({"images": torch.zeros(0, 2, 9, 9, dtype=torch.uint8)}, "an image"),
    ],
)
def test_what_cannot_be_shown_is_refused(reusing_model, pixels, changes, message):
    asked = {"images": pixels, "layer": "relu", "units": [0], "transformations": TURNS, "preprocess": scaled}
    with pytest.raises(InputError, match=message):
        unit_examples(reusing_model, **{**asked, **changes})


def test_extreme_units_are_in_order_and_equal_ones_by_their_numbers():
    found = one_layer([3, 1, 9, 2, 9, 1, 5, 4], [1] * 8)
    assert extreme_units(found, "conv") == ([1, 5, 3], [2, 4, 6])
    assert extreme_units(found, "Conv", count=1) == ([1], [2])


def test_units_that_are_constant_infinite_undefined_or_rounding_are_left_out():
    found = one_layer([0, 1, 2, np.nan, 3, 4, 0, 1e-9], [0, 0, 1, 1, 1, 1, 1, 2e-9], rounding=np.full(8, 1e-8))
    assert extreme_units(found, "conv") == ([6, 2], [5, 4])


@pytest.mark.parametrize(
    ("tv", "expected"),
    [([5, 2], ([1], [0])), ([5, 5], ([0], [1])), ([5, 2, 3], ([1, 2], [0])), ([5], ([0], [])), ([], ([], []))],
)
def test_no_unit_of_a_small_layer_is_in_both_lists(tv, expected):
    assert extreme_units(one_layer(tv, np.ones(len(tv))), "conv") == expected


def test_extreme_units_of_what_was_not_aggregated_or_measured():
    with pytest.raises(InputError, match="aggregation none"):
        extreme_units(result(aggregation="none"), "conv")
    with pytest.raises(InputError, match=r"unknown layer 'con': did you mean conv\? There are conv, linear"):
        extreme_units(result(), "con")


@pytest.mark.parametrize(("samples", "tolerance", "shown"), [(40, None, 40), (40, 0.1, 355), (None, None, 355)])
def test_images_are_those_that_were_measured(trained, monkeypatch, samples, tolerance, shown):
    """After a tolerance they are not known: all test images, of which the figure says that a part was measured."""
    dataset = load_dataset("digits", None, samples, seed=4)
    counts, ones = torch.bincount(dataset.test.labels).numpy(), np.ones((10, 4))
    digits = {"classes": dataset.classes, "class_counts": counts, "samples": len(dataset.test), "tv_classes": ones,
              "sv_classes": ones, "errors": errors(10, 2), "tolerance": tolerance}  # fmt: skip
    measured = pair_of(of_relu(**digits), of_relu(**digits), seed=4)
    monkeypatch.setattr("pytorch.report.unit_gallery.load_model", lambda path: trained)
    monkeypatch.setattr("pytorch.report.unit_gallery.check_pair", lambda *given: None)
    monkeypatch.setattr(Findings, "outdated", lambda *given: False)
    seen = []
    monkeypatch.setattr(
        "pytorch.report.unit_gallery.units_figure", lambda *given: seen.append(given) or units_figure(*given)
    )
    found = found_in(measured, trained_pairs={("simple_conv", "digits"): Trained(Path(), [], {}, [])})
    (figure,) = plan_units(found, ["relu1"], None, torch.device("cpu"), 256)
    said = " ".join(text.get_text() for text in figure.draw().texts).replace("\n", " ")
    *_, images, _, labels = seen[0]
    assert len(images) == len(labels) == shown
    assert f"of {shown} upright samples" in said
    assert ("over a part of them" in said) == (shown != len(dataset.test))
    if tolerance is None:
        assert torch.equal(images, dataset.test.images)
        assert torch.equal(labels, dataset.test.labels)


def of_relu(**changes):
    return result(layer_names=["relu1", "rest"], **changes)


@pytest.fixture
def drawn(pair):
    """What ``units_figure`` takes: units 0 and 1 of conv, one image of the first, negative activations."""
    values = one_layer([1, 3], [2, 1], classes=["$^$", "_bg", "a rather long name"])
    curves = np.linspace(-9, -1, 16).reshape(2, 2, 4)
    mean, sd = np.array([-3.0, 0.0]), np.array([1.0, np.nan])
    names = ["$^$"] * 4
    examples = UnitExamples("conv", [0, 1], np.array([[2, 0], [1, 2]]), curves, mean, sd, 3, names)
    return {
        "pair": replace(pair, results={"unrotated": values, "rotated": values}),
        "layer": "conv",
        "examples": {"unrotated": examples, "rotated": examples},
        "chosen": {"unrotated": ([0], [1]), "rotated": ([0], [])},
        "images": torch.arange(3 * 64, dtype=torch.uint8).reshape(3, 1, 8, 8),
        "degrees": [0.0, 90.0, 180.0, 270.0],
        "labels": torch.tensor([0, 1, 2]),
    }


def panels(figure):
    """Axes of images and of curves."""
    images = [axes for axes in figure.axes if axes.get_images()]
    return images, [axes for axes in figure.axes if axes not in images]


def test_a_unit_is_drawn_with_its_images_and_its_curves(drawn, tmp_path):
    figure = units_figure(**drawn)
    save_figure(figure, tmp_path / "units.png")
    images, curves = panels(figure)
    assert (len(images), len(curves)) == (6, 3)
    shown = [text.get_text() for text in figure.texts]
    assert {"unit 0:  NV 0.500  (TV 1.00 / SV 2.00)", "unit 1:  NV 3.00  (TV 3.00 / SV 1.00)"} <= {*shown}
    assert {"unrotated model, most invariant units", "rotated model, least invariant units: none"} <= {*shown}
    assert "of 3 upright samples" in shown[1]
    assert [axes.get_xlabel() for axes in images[:4]] == ["a rath…", r"\$^\$", " _bg", "a rath…"]
    np.testing.assert_array_equal(images[0].get_images()[0].get_array(), drawn["images"][2, 0])
    for place, line in enumerate(curves[0].get_lines()[1:]):
        values = drawn["examples"]["unrotated"].activations[0, place]
        assert line.get_xdata().tolist() == [0, 90, 180, 270, 360]
        assert line.get_ydata().tolist() == [*values, values[0]]
        frame = next(iter(images[place].spines.values())).get_edgecolor()
        assert line.get_color() == IMAGE_COLOURS[place] == to_hex(frame).upper()
    (band,) = curves[0].patches
    assert (band.get_y(), band.get_height()) == (-4, 2)
    assert not curves[1].patches


def test_a_unit_that_no_upright_image_drives_has_no_images(drawn):
    examples = replace(drawn["examples"]["unrotated"], mean=np.array([0.25, 0.0]), sd=np.array([0.0, 1.0]))
    figure = units_figure(**{**drawn, "examples": {"unrotated": examples, "rotated": examples}})
    images, curves = panels(figure)
    assert (len(images), len(curves)) == (2, 1)
    assert [text.get_text() for text in figure.texts].count("0.25 on every upright image") == 2


@pytest.mark.parametrize(
    ("shift", "factor", "written"),
    [
        (0, 1, "−6"), (0, 1e-6, "−6e−06"), (0, 1e8, "−6e+08"),
        (5000, 1e-3, "4999.993"), (1, 1e-6, "0.999994"), (123456, 1, "123451"), (2e7, 1, "19999993"),
    ],
)  # fmt: skip
def test_activations_of_any_size_are_written_out(drawn, shift, factor, written):
    """No factor, and nothing that is to be added, stands above their curves."""
    of_one = drawn["examples"]["unrotated"]
    moved = replace(
        of_one,
        activations=shift + factor * of_one.activations,
        mean=shift + factor * of_one.mean,
        sd=factor * of_one.sd,
    )
    figure = units_figure(**{**drawn, "examples": dict.fromkeys(drawn["examples"], moved)})
    figure.draw_without_rendering()
    axis = panels(figure)[1][0].yaxis
    assert axis.get_offset_text().get_text() == ""
    assert written in [label.get_text() for label in axis.get_ticklabels()]


def test_models_go_by_their_own_names(drawn):
    names = {"unrotated": "before", "rotated": "after"}
    figure = units_figure(**{**drawn, "pair": replace(drawn["pair"], names=names)})
    shown = [text.get_text() for text in figure.texts]
    assert {"before, most invariant units", "after, least invariant units: none"} <= {*shown}


def test_drawing_units_changes_no_bit_of_a_result(drawn, tmp_path):
    content = drawn["pair"].to_dict(), [vars(examples) for examples in drawn["examples"].values()], drawn["chosen"]
    before = pickle.dumps((content, drawn["images"].numpy()))
    save_figure(units_figure(**drawn), tmp_path / "units.png")
    assert pickle.dumps((content, drawn["images"].numpy())) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"degrees": None},
        {"degrees": [0.0, 10.0, 20.0, 30.0]},
        {"labels": None},
        {"images": torch.zeros(3, 3, 8, 8, dtype=torch.uint8)},
        {"chosen": {"unrotated": ([], []), "rotated": ([], [])}},
    ],
    ids=["other transformations", "a part of a turn", "unlabelled", "coloured", "no unit"],
)
def test_unusual_examples_can_be_drawn(drawn, changes, tmp_path):
    figure = units_figure(**{**drawn, **changes})
    save_figure(figure, tmp_path / "units.png")
    for axes in panels(figure)[1]:
        assert len(axes.get_lines()[-1].get_xdata()) == (4 if "degrees" in changes else 5)


def test_one_image_of_one_model(drawn, tmp_path):
    unrotated = drawn["examples"]["unrotated"]
    few = replace(unrotated, images=unrotated.images[:, :1], activations=unrotated.activations[:, :1], samples=1)
    alone = replace(drawn["pair"], control="random-weights", results={"untrained": drawn["pair"].any_result})
    figure = units_figure(
        **{**drawn, "pair": alone, "examples": {"untrained": few}, "chosen": {"untrained": ([0], [])}}
    )
    save_figure(figure, tmp_path / "units.png")
    assert len(panels(figure)[0]) == 1


@pytest.mark.parametrize("degrees", [[0.0, 90.0, 180.0, 270.0], None])
def test_nothing_leaves_the_figure_or_lies_on_another(drawn, degrees):
    drawn["pair"] = replace(drawn["pair"], dataset="folder-" + "long name " * 12)
    figure = units_figure(**{**drawn, "degrees": degrees})
    figure.draw_without_rendering()
    assert figure._suptitle.get_fontsize() == TITLE_SIZE
    written = [*figure.texts, *(axes.xaxis.label for axes in figure.axes)]
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = axis.get_view_interval()
        written += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = {text: text.get_window_extent() for text in written if text.get_text()}
    boxes |= {axes: axes.get_window_extent() for axes in figure.axes}
    for thing, box in boxes.items():
        assert box.x0 >= 0, thing
        assert box.y0 >= 0, thing
        assert box.x1 <= figure.bbox.x1, thing
        assert box.y1 <= figure.bbox.y1, thing
        assert not [other for other in boxes if other is not thing and box.overlaps(boxes[other])], thing
    assert "long name" in texts(figure)
