"""What follows from a result, and that nothing can change it."""

import numpy as np
import pytest
import torch
from builders import errors, result, unlabelled
from torch import nn

from pytorch.variance import VarianceResult, measure_variance


def counts(**some):
    """Of ``unit_counts``, of four units."""
    return {"units": 4, "constant": 0, "rounding": 0, "invariant": 0, "infinite": 0, "undefined": 0} | some


def test_normalized_variance_and_its_means():
    found = result()
    np.testing.assert_array_equal(found.normalized_variance()["conv"], [0.5, 1])
    np.testing.assert_array_equal(found.normalized_variance()["linear"], [np.inf, 3])
    assert found.layer_means() == {"conv": 0.75, "linear": 3}
    assert found.global_mean() == 1.5
    assert found.unit_counts() == counts(constant=1, infinite=1)


def test_stratified_is_the_mean_over_classes_of_two_samples_or_more():
    found = result()
    np.testing.assert_array_equal(found.normalized_variance("stratified")["conv"], [(1 + 3) / 2, 1])
    np.testing.assert_array_equal(found.normalized_variance("stratified")["linear"], [np.inf, (3 + 1.5) / 2])
    assert found.unit_counts("stratified") == counts(constant=1, infinite=1)
    assert found.unit_counts("bee")["undefined"] == 4


def test_stratified_of_classes_too_small_is_undefined_and_not_constant():
    found = result(class_counts=np.array([1, 1, 1]))
    assert found.unit_counts("stratified") == counts(undefined=4)
    empty = np.empty((0, 4))
    unlabelled = result(classes=[], class_counts=np.empty(0, dtype=int), tv_classes=empty, sv_classes=empty)
    with pytest.raises(KeyError, match="stratified"):
        unlabelled.constant_units("stratified")


def test_sample_counts():
    assert [result().sample_count(group) for group in ("all", "stratified", "bee", "cow")] == [6, 5, 1, 3]


def test_nothing_can_be_changed():
    """A figure that sorts what it is given fails at once."""
    found = result()
    for arrays in (found.transformation_variance(), found.sample_variance("ant"), found.normalized_variance()):
        with pytest.raises(ValueError, match="read-only"):
            arrays["conv"].sort()
    with pytest.raises(ValueError, match="read-only"):
        found.tv_all[0] = 0


def test_means_of_all_three_quantities():
    found = result()
    assert found.layer_means(quantity="transformation") == {"conv": 0.5, "linear": 2}
    assert found.layer_means("ant", "sample") == {"conv": 0.5, "linear": 0.5}
    assert found.global_mean("all", "transformation") == 1.25


def test_errors_and_intervals():
    found = result()
    assert found.layer_errors() == {"conv": 0.03, "linear": 0.031}
    assert found.layer_errors("all", "sample") == {"conv": 0.02, "linear": 0.021}
    assert found.layer_errors("bee", "transformation") == pytest.approx({"conv": 0.03, "linear": 0.033})
    assert found.layer_errors("stratified") == {"conv": 0.04, "linear": 0.041}
    assert found.global_error() == 0.032
    # The mean of conv is 0.75; 1.96 errors of 0.03 about it, less the bias of 0.001.
    assert found.layer_intervals()["conv"] == pytest.approx((0.749 - 0.058799, 0.749 + 0.058799), abs=1e-6)
    assert found.layer_intervals(quantity="sample")["conv"] == pytest.approx((1 - 0.039199, 1 + 0.039199), abs=1e-6)
    low, high = found.global_interval("all", confidence=0.6826894921370859)
    assert (low, high) == pytest.approx((1.5 - 0.003 - 0.032, 1.5 - 0.003 + 0.032))


def test_errors_of_units_that_vary_are_those_of_the_result_without_the_others():
    """Two layers with dead units, one of them all dead; the same layers without dead units."""

    class Widened(nn.Module):
        def __init__(self, dead):
            super().__init__()
            self.first, self.second, self.third = nn.ReLU(), nn.ReLU(), nn.ReLU()
            self.dead = dead

        def forward(self, inputs):
            zeros = inputs.new_zeros(len(inputs), self.dead)
            self.first(torch.cat([inputs.flatten(1), zeros], dim=1))
            self.second(torch.cat([inputs.flatten(1).square(), zeros, zeros], dim=1))
            return self.third(inputs.new_zeros(len(inputs), 1))

    images = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, brighter = torch.arange(40) % 2, [torch.clone, torch.sqrt]
    narrow, wide = (measure_variance(Widened(dead), images, labels, brighter) for dead in (0, 5))
    for group in wide.groups:
        for found, expected in (
            (wide.layer_intervals(group, varying=True), narrow.layer_intervals(group)),
            (wide.layer_errors(group, varying=True), narrow.layer_errors(group)),
        ):
            for layer in ("first", "second"):
                np.testing.assert_allclose(found[layer], expected[layer], rtol=1e-6)  # errors are float32
        assert np.isnan(wide.layer_intervals(group, varying=True)["third"]).all()
        assert wide.global_error(group, varying=True) == pytest.approx(9 / 8 * narrow.global_error(group))
    low, high = wide.global_interval(varying=True)
    assert high - low == pytest.approx(2 * 1.959964 * wide.global_error(varying=True))
    assert (low + high) / 2 == pytest.approx(wide.global_mean(varying=True), rel=0.05), "less the bias"


def test_summary_groups_have_a_value():
    assert result().summary_groups == ["all", "stratified"]
    assert result(class_counts=np.array([1, 1, 1])).summary_groups == ["all"]
    assert unlabelled()["rotated"].summary_groups == ["all"]


def test_unknown_quantities_are_named():
    with pytest.raises(KeyError, match="no quantity 'nv': choose from 'transformation', 'sample'"):
        result().layer_means(quantity="nv")
    with pytest.raises(KeyError, match="only normalized variance has the group"):
        result().layer_errors("stratified", "sample")


def test_unknown_groups_are_named():
    with pytest.raises(KeyError, match="no group 'dog': choose from 'all', 'ant'"):
        result().transformation_variance("dog")
    with pytest.raises(KeyError, match="stratified"):
        result().sample_variance("stratified")
    unlabelled = result(
        classes=[], class_counts=np.zeros(0, dtype=np.int64), tv_classes=np.zeros((0, 4)), sv_classes=np.zeros((0, 4)),
        errors=errors(0, 2),
    )  # fmt: skip
    with pytest.raises(KeyError, match="the samples have no labels, so the only group is 'all'"):
        unlabelled.normalized_variance("stratified")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tv_all": np.zeros(3)}, "tv_all has shape"),
        ({"classes": ["ant", "bee", "all"]}, "rename class 'all'"),
        ({"classes": ["ant", "bee", "bee"]}, "rename class 'bee'"),
        ({"layer_names": ["conv", "conv"]}, "name of its own"),
        ({"tv_all": np.array(["a", "b", "c", "d"])}, "tv_all is of type <U1"),
        ({"errors": errors(3, 3)}, r"all has shape \(3, 4\)"),
        ({"class_counts": np.array([1.0, 2.0, 3.0])}, "class_counts is of type float64"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        result(**changes)


def test_a_result_prints_in_one_line():
    text = repr(result())
    assert "\n" not in text
    assert text.startswith("VarianceResult(")
    assert f"global mean {result().global_mean():.3f}" in text


def test_through_a_dict_and_back():
    found = VarianceResult.from_dict(result().to_dict())
    assert found.layer_shapes == [(2,), (2,)]
    np.testing.assert_array_equal(found.sv_classes, result().sv_classes)


def test_a_result_prints_as_a_table():
    assert str(result()).splitlines() == [
        "6 samples, 2 transformations, aggregation mean",
        "layer   units         NV all  NV stratified  constant  rounding  not finite",
        "conv        2  0.750 ± 0.030  1.500 ± 0.040         1         0           0",
        "linear      2  3.000 ± 0.031  2.250 ± 0.041         0         0           1",
        "all         4  1.500 ± 0.032  1.750 ± 0.042         1         0           1",
    ]
    unusual = {"samples_offered": 8, "dispersion": "variance", "precision": "bf16", "tolerance": 0.1, "shuffled": True}
    assert str(result(**unusual)).startswith(
        "6 of 8 samples, 2 transformations, aggregation mean, dispersion variance, precision bf16, tolerance 0.1, "
        "SHUFFLED control\n"
    )
    assert str(result(not_measured={"a": "a copy: of others", "b": "no batch"})).splitlines()[0] == (
        "6 samples, 2 transformations, aggregation mean, 1 not measured (see left_out)"
    )
    unlabelled = {"classes": [], "class_counts": np.zeros(0, np.int64), "tv_classes": np.zeros((0, 4))}
    ordinary = {"sv_all": np.array([2.0, 0, 1, 1]), "sv_classes": np.zeros((0, 4))}
    alone = result(**unlabelled, **ordinary, rounding=np.array([5.0, 5, 0, 0]))
    assert str(alone).splitlines()[1:3] == [
        "layer   units         NV all  constant  rounding",
        "conv        2  0.750 ± 0.030         1         1",
    ]


def test_a_layer_without_finite_units_has_neither_mean_nor_error():
    found = result(sv_all=np.array([2.0, 0.0, 0.0, 0.0]))
    assert str(found).splitlines()[3].split()[:5] == ["linear", "2", "nan", "±", "nan"]
    assert np.isnan(found.layer_intervals()["linear"]).all()


def test_a_name_cannot_move_the_cursor():
    assert "\na\\n\\x1b[2J  " in str(result(layer_names=["a\n\x1b[2J", "linear"]))


def test_a_result_as_a_data_frame():
    found = result(rounding=np.array([1.0, 1, 1, 1]))
    frame = found.to_dataframe()
    assert list(frame.columns) == ["layer", "unit", "group", "tv", "sv", "nv", "constant", "rounding", "invariant"]
    assert list(frame["group"].unique()) == found.groups
    for group in found.groups:
        rows = frame[frame["group"] == group]
        assert list(rows["layer"]) == ["conv", "conv", "linear", "linear"]
        assert list(rows["unit"]) == [0, 1, 0, 1]
        columns = {"nv": found.normalized_variance, "constant": found.constant_units}
        columns |= {"rounding": found.rounding_units, "invariant": found.invariant_units}
        if group == "stratified":
            assert rows[["tv", "sv"]].isna().all(axis=None)
        else:
            columns |= {"tv": found.transformation_variance, "sv": found.sample_variance}
        for column, values in columns.items():
            np.testing.assert_array_equal(rows[column], np.concatenate([*values(group).values()]))
    assert frame[frame["group"] == "all"]["invariant"].tolist() == [True, False, False, False]
