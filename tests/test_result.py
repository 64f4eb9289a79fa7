"""What follows from a result, and that nothing can change it."""

import numpy as np
import pytest

from pytorch.variance import VarianceResult


def result(**changes):
    """Two layers of two units; the second class has one sample."""
    content = {
        "layer_names": ["conv", "linear"],
        "layer_shapes": [(2,), (2,)],
        "classes": ["ant", "bee", "cow"],
        "class_counts": np.array([2, 1, 3]),
        "samples": 6,
        "transformations": ["0", "1"],
        "aggregation": "mean",
        "dispersion": "std",
        "tv_all": np.array([1.0, 0.0, 1.0, 3.0]),
        "sv_all": np.array([2.0, 0.0, 0.0, 1.0]),
        "tv_classes": np.array([[1.0, 0.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 1.0, 3.0]]),
        "sv_classes": np.array([[1.0, 0.0, 0.0, 1.0], [np.nan] * 4, [1.0, 0.0, 1.0, 2.0]]),
    }
    return VarianceResult(**{**content, **changes})


def test_normalized_variance_and_its_means():
    found = result()
    np.testing.assert_array_equal(found.normalized_variance()["conv"], [0.5, 1])
    np.testing.assert_array_equal(found.normalized_variance()["linear"], [np.inf, 3])
    assert found.layer_means() == {"conv": 0.75, "linear": 3}
    assert found.global_mean() == 1.5
    assert found.unit_counts() == {"units": 4, "constant": 1, "infinite": 1, "undefined": 0}


def test_stratified_is_the_mean_over_classes_of_two_samples_or_more():
    found = result()
    np.testing.assert_array_equal(found.normalized_variance("stratified")["conv"], [(1 + 3) / 2, 1])
    np.testing.assert_array_equal(found.normalized_variance("stratified")["linear"], [np.inf, (3 + 1.5) / 2])
    assert found.unit_counts("stratified") == {"units": 4, "constant": 1, "infinite": 1, "undefined": 0}
    assert found.unit_counts("bee")["undefined"] == 4


def test_stratified_of_classes_too_small_is_undefined_and_not_constant():
    found = result(class_counts=np.array([1, 1, 1]))
    assert found.unit_counts("stratified") == {"units": 4, "constant": 0, "infinite": 0, "undefined": 4}
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


def test_unknown_groups_are_named():
    with pytest.raises(KeyError, match="no group 'dog' here: there is 'all', 'ant'"):
        result().transformation_variance("dog")
    with pytest.raises(KeyError, match="stratified"):
        result().sample_variance("stratified")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tv_all": np.zeros(3)}, "tv_all has shape"),
        ({"classes": ["ant", "bee", "all"]}, "class names"),
        ({"classes": ["ant", "bee", "bee"]}, "class names"),
        ({"layer_names": ["conv", "conv"]}, "name of its own"),
        ({"tv_all": np.array(["a", "b", "c", "d"])}, "tv_all is of type <U1"),
        ({"class_counts": np.array([1.0, 2.0, 3.0])}, "class_counts is of type float64"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        result(**changes)


def test_through_a_dict_and_back():
    found = VarianceResult.from_dict(result().to_dict())
    assert found.layer_shapes == [(2,), (2,)]
    np.testing.assert_array_equal(found.sv_classes, result().sv_classes)
