"""Tables: the numbers of the results, published ones and controls beside them."""

import math
import re

import numpy as np
import pytest
from builders import both, hostile, pair, result, rows, shuffled, unlabelled, untrained

from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.published import published_accuracy, published_global_mean
from pytorch.experiments.vocabulary import PAIR
from pytorch.report.controls import controls_of
from pytorch.report.formats import markdown
from pytorch.report.tables import results_tables


def named(pairs, name):
    return rows(next(table for table in results_tables(pairs) if table.name == name))


def assert_estimates(found, expected):
    """NaN equals NaN here."""
    np.testing.assert_array_equal([found.value, found.error], expected)


def test_global_means_are_those_of_the_results():
    measured = pair()
    plain, stratified = named([measured], "global-means")
    assert (plain["measure"], plain["steps"], plain["samples"], stratified["samples"]) == ("all samples", 2, 6, 5)
    for row, group in ((plain, "all"), (stratified, "stratified")):
        for trained_on, found in measured.results.items():
            assert_estimates(row[trained_on], [found.global_mean(group), found.global_error(group)])
    # The finite units are 0.5, 1 and 3 of the one, and 1 and 1 of the other.
    assert_estimates(plain["difference"], [1 - 1.5, math.nan])
    assert (plain["2019 unrotated"].value, plain["2019 rotated"].value) == (0.7315, 0.686)
    assert (stratified["2019 unrotated"].value, stratified["2019 rotated"].value) == (1.01, 0.9728)


def test_layer_means_are_those_of_the_results():
    measured = pair()
    conv, linear = named([measured], "layers-simple-conv-mnist-rotation-mean")
    assert (conv["layer"], conv["units"], conv["constant, unrotated"], linear["constant, rotated"]) == ("conv", 2, 1, 1)
    assert [row["not finite, unrotated"] for row in (conv, linear)] == [0, 1]
    assert [row["not finite, rotated"] for row in (conv, linear)] == [2, 0]
    for row in (conv, linear):
        for trained_on, found in measured.results.items():
            for measure, group in (("all samples", "all"), ("stratified", "stratified")):
                expected = [found.layer_means(group)[row["layer"]], found.layer_errors(group)[row["layer"]]]
                assert_estimates(row[f"{trained_on}, {measure}"], expected)
    assert math.isnan(conv["rotated, all samples"].value)
    ordinary = pair(results=both(tv_all=np.ones(4), sv_all=np.ones(4)))
    assert results_tables([ordinary])[-1].columns[:3] == ["layer", "units", "unrotated, all samples"]


def test_an_accuracy_stands_once_for_all_measurements_of_the_same_weights():
    others = [pair(transformation="scale"), pair(results=both(aggregation="max")), shuffled(), untrained()]
    (row,) = named([pair(), *others], "accuracy")
    assert row["unrotated model, upright data"] == "98.77 %"
    assert row["rotated model, rotated data"] == "25.00 %"
    assert row["2019 unrotated, rotated"] == "43.7 %"
    assert not {"weights", "test images"} & {*row}
    anew = pair(weights={"unrotated": "3" * 16, "rotated": "4" * 16})
    for name, count in (("accuracy", 2), ("global-means", 4)):
        found = named([pair(), anew, untrained()], name)
        assert len(found) == count
        assert {row["weights"] for row in found} == {"00000000 / 11111111", "33333333 / 44444444"}


def test_how_many_images_an_accuracy_is_of_is_told_where_both_models_saw_as_many():
    curves = {name: AngleCurve([0.0], [[1, 2]], [3, count]) for name, count in (("unrotated", 4), ("rotated", 4))}
    assert named([pair(angle_curves=curves)], "accuracy")[0]["test images"] == 7
    curves["rotated"] = AngleCurve([0.0], [[1, 2]], [3, 5])
    assert "test images" not in named([pair(angle_curves=curves)], "accuracy")[0]


def test_constant_units_are_counted_and_left_out_of_a_mean_beside():
    """NV of 2, 1 (0/0), 3, and one that is not finite."""
    odd = result(tv_all=np.array([2.0, 0.0, 3.0, 1.0]), sv_all=np.array([1.0, 0.0, 1.0, 0.0]))
    dead = result(tv_all=np.zeros(4), sv_all=np.zeros(4))
    found = named([pair(results={"unrotated": odd, "rotated": dead})], "global-means")[0]
    assert found["unrotated"].value == 2
    assert [found[head] for head in ("units", "constant, unrotated", "constant, rotated")] == [4, 1, 4]
    assert found["without them, unrotated"].value == 2.5
    assert math.isnan(found["without them, rotated"].value)
    ones = np.ones((3, 4))
    plain = result(tv_all=ones[0], sv_all=ones[0], tv_classes=ones, sv_classes=ones)
    assert "units" not in named([pair(results={"unrotated": plain, "rotated": plain})], "global-means")[0]


def test_means_leave_out_units_that_never_vary_where_asked():
    """NV of 2, 1 (0/0), 3, and 5 by rounding alone; before training, of 2 alone."""
    tv, sv = np.array([2.0, 0.0, 3.0, 5e-9]), np.array([1.0, 0.0, 1.0, 1e-9])
    odd = result(tv_all=tv, sv_all=sv, rounding=np.full(4, 1e-8))
    before = untrained(results={"untrained": result(tv_all=np.array([2.0, 0, 0, 0]), sv_all=np.array([1.0, 0, 0, 0]))})
    measured = pair(results={"unrotated": odd, "rotated": odd})
    tables = {table.name: table for table in results_tables([measured, before, shuffled()], varying=True)}
    row = rows(tables["global-means"])[0]
    assert_estimates(row["unrotated"], [2.5, odd.global_error(varying=True)])
    assert row["before training"].value == 2
    assert row["with them, unrotated"].value == odd.global_mean() == 2.75
    assert "without them, unrotated" not in row
    conv, linear = rows(tables["layers-simple-conv-mnist-rotation-mean"])
    assert_estimates(conv["unrotated, all samples"], [2, odd.layer_errors(varying=True)["conv"]])
    assert linear["rotated, all samples"].value == 3
    assert rows(tables["shuffled"])[0]["unrotated"].value == result().global_mean(varying=True)
    for name in ("global-means", "shuffled", "layers-simple-conv-mnist-rotation-mean"):
        assert "only units that vary" in tables[name].title
    assert "count as 1." not in tables["global-means"].caption.replace("Published means count constant units as 1.", "")


def test_units_of_rounding_alone_are_counted_where_there_are_any_and_left_out_of_the_mean_beside():
    """NV of 2, 1 (0/0) and 3, and one of rounding alone that would be 5."""
    tv, sv = np.array([2.0, 0.0, 3.0, 5e-9]), np.array([1.0, 0.0, 1.0, 1e-9])
    living = {"tv_all": np.ones(4), "sv_all": np.ones(4)}
    results = {"unrotated": result(tv_all=tv, sv_all=sv, rounding=np.full(4, 1e-8)), "rotated": result(**living)}
    plain, stratified = named([pair(results=results)], "global-means")
    heads = ["units", "constant, unrotated", "rounding, unrotated", "rounding, rotated"]
    assert [plain[head] for head in heads] == [4, 1, 1, 0]
    assert plain["without them, unrotated"].value == 2.5
    assert stratified["rounding, unrotated"] is None, "none in its classes"
    conv, linear = named([pair(results=results)], "layers-simple-conv-mnist-rotation-mean")
    assert [row["rounding, unrotated"] for row in (conv, linear)] == [0, 1]
    for table in results_tables([pair(results=results)])[1:]:
        assert table.caption.count("Rounding: ") == 1
    assert "ounding" not in markdown(results_tables([pair()]))


def test_controls_stand_beside_the_pair_that_they_belong_to():
    before = untrained(results={"untrained": result(tv_all=np.full(4, 7.0), sv_all=np.full(4, 2.0))})
    after = shuffled(results=both(samples=4))
    plain, _ = named([pair(), before, after], "global-means")
    assert_estimates(plain["before training"], [3.5, 0.032])
    assert [row["samples"] for row in named([pair(), after], "shuffled")] == [4, 5]
    assert controls_of(pair(), [pair(), after, before]) == {"shuffled": after, "random-weights": before}
    anew = pair(training={name: {"seed": 0, "precision": "fp32", "batch size": 8} for name in PAIR})
    assert controls_of(anew, [before]) == {"random-weights": before}  # whose weights do not follow from these


@pytest.mark.parametrize(
    "other",
    [
        untrained(training={"untrained": {"seed": 1, "epochs": 0}}),
        untrained(dataset="digits"),
        untrained(transformation="scale"),
        untrained(results={"untrained": result(transformations=["0", "1", "2"])}),
        untrained(results={"untrained": result(aggregation="max")}),
        shuffled(weights={"unrotated": "0" * 16, "rotated": "9" * 16}),
    ],
    ids=["seed", "data set", "transformation", "steps", "aggregation", "weights"],
)
def test_controls_of_something_else_stay_away(other):
    assert controls_of(pair(), [other]) == {}
    (plain, _), names = (
        named([pair(), other], "global-means"),
        [table.name for table in results_tables([pair(), other])],
    )
    assert "before training" not in plain
    assert "shuffled" not in names


def test_numbers_of_fewer_samples_do_not_stand_beside():
    """NV of few samples is too large; where a measurement stopped early, those that it could have taken count."""
    other = untrained(results={"untrained": result(samples=4)})
    for name in ("global-means", "layers-simple-conv-mnist-rotation-mean"):
        assert all("before training" not in " ".join(row) for row in named([pair(), other], name))
    stopped = untrained(results={"untrained": result(samples=4, samples_offered=6, tolerance=0.1)})
    assert "before training" in named([pair(), stopped], "global-means")[0]


def test_published_values():
    assert published_global_mean("all_convolutional", "cifar10", "rotation", "max", "rotated", "all") == 0.6817
    assert published_global_mean("vgg16", "cifar10", "rotation", "mean", "unrotated", "stratified") == 0.7181
    for model in ("resnet", "resnet50"):
        assert published_global_mean(model, "cifar10", "rotation", "mean", "rotated", "all") == 0.3559
        assert published_accuracy(model, "cifar10", "rotated", "upright") == 0.65
    assert published_global_mean("resnet", "mnist", "rotation", "mean", "rotated", "all") == 0.6004
    assert published_accuracy("vgg16", "mnist", "unrotated", "upright") == 0.989


@pytest.mark.parametrize(
    ("model", "dataset", "transformation", "aggregation", "group"),
    [
        ("resnet50", "mnist", "rotation", "mean", "all"),
        ("resnet34", "cifar10", "rotation", "mean", "all"),
        ("simple_conv", "digits", "rotation", "mean", "all"),
        ("simple_conv", "mnist", "rotation-disc", "mean", "all"),
        ("simple_conv", "mnist", "rotation", "none", "all"),
        ("simple_conv", "mnist", "rotation", "mean", "plain of mind"),
    ],
)
def test_nothing_else_was_published(model, dataset, transformation, aggregation, group):
    assert published_global_mean(model, dataset, transformation, aggregation, "rotated", group) is None


def test_captions_speak_of_what_is_there():
    for tables in (
        results_tables([pair(dataset="digits")]),
        results_tables([pair(results=both(dispersion="variance"))]),
    ):
        means = next(table for table in tables if table.name == "global-means")
        assert not [head for head in means.columns if "2019" in head]
        assert "2019" not in means.caption
    for model, dataset, said in (
        ("resnet", "cifar10", True),
        ("resnet50", "cifar10", False),
        ("resnet", "mnist", False),
    ):
        captions = [table.caption for table in results_tables([pair(model=model, dataset=dataset)])[:2]]
        assert [("of ResNet-50" in caption, "28 × 28" in caption) for caption in captions] == [(said, True)] * 2


def test_results_of_few_samples_one_class_or_none():
    one = {
        "classes": ["ant"],
        "class_counts": np.array([6]),
        "tv_classes": np.ones((1, 4)),
        "sv_classes": np.ones((1, 4)),
    }
    _, stratified = named([pair(results=both(**one))], "global-means")
    assert stratified["unrotated"].value == 1
    (plain,) = named([pair(results=unlabelled())], "global-means")
    assert plain["measure"] == "all samples"
    layers = results_tables([pair(results=unlabelled())])[-1]
    assert layers.columns[-2:] == ["unrotated, all samples", "rotated, all samples"]
    nothing = both(tv_all=np.full(4, np.nan), sv_all=np.full(4, np.nan), class_counts=np.array([1, 1, 1]))
    table = results_tables([pair(results=nothing)])[-1]
    assert table.columns[-2:] == ["unrotated, all samples", "rotated, all samples"], "no class has two samples"
    assert markdown([table]).count("| – | – |") == 2
    assert results_tables([]) == results_tables([untrained()]) == []


def test_tables_are_named_apart():
    names = [table.name for table in results_tables([pair(dataset="My Set"), pair(dataset="my-set"), hostile()])]
    assert len(set(names)) == len(names) == 5
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)
