"""F and p of each unit are those of scipy's one-way analysis of variance on the whole table."""

import numpy as np
import pytest
from oracle import st_matrices
from scipy import stats
from torch import nn

from pytorch.transformations import brightness, rotations
from pytorch.variance import VarianceResult, measure_variance


@pytest.mark.parametrize("batch_size", [1, 8, 64])
@pytest.mark.parametrize("aggregation", ["mean", "none"])
def test_equals_scipy(reusing_model, images, labels, batch_size, aggregation):
    result = measure_variance(
        reusing_model, images, labels, rotations(5), batch_size=batch_size, aggregation=aggregation
    )
    layers = st_matrices(reusing_model, images, rotations(5), aggregation=aggregation)
    found = zip(result.f_statistics().values(), result.f_p_values().values(), strict=True)
    for (name, table), (f, p) in zip(layers, found, strict=True):
        changing = table.std(axis=(0, 1)) > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = stats.f_oneway(*table[..., changing].swapaxes(0, 1)) if changing.ndim == 1 else stats.f_oneway(
                *table[:, :, changing].swapaxes(0, 1)
            )  # fmt: skip
        np.testing.assert_allclose(f[changing], expected.statistic, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(p[changing], expected.pvalue, rtol=1e-7, atol=1e-12)
        assert np.isnan(f[~changing]).all()


def test_a_mean_that_depends_on_the_transformation_alone(images):
    """Brightness scales the mean: a large F; samples without a difference: infinite, p = 0."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1)).double()
    result = measure_variance(model, images, None, brightness(4))
    assert (result.f_p_values()["0"] < 1e-10).all()
    same = images[:1].expand(5, -1, -1, -1)
    result = measure_variance(model, same, None, brightness(4))
    assert np.isinf(result.f_statistics()["0"]).all()
    assert (result.f_p_values()["0"] == 0).all()


def test_saved_with_a_result_and_unknown_in_older_ones(images, tmp_path):
    result = measure_variance(nn.Sequential(nn.Conv2d(2, 3, 3)).double(), images, None, rotations(3))
    result.save(tmp_path / "file")
    np.testing.assert_array_equal(VarianceResult.load(tmp_path / "file").f_all, result.f_all)
    content = result.to_dict()
    del content["f_all"]
    assert np.isnan(VarianceResult.from_dict(content).f_p_values()["0"]).all()
