"""The figure of invariance against equivariance shows the means of both, layer by layer."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import texts
from torch import nn

from pytorch.errors import InputError
from pytorch.figures import equivariance_figure, save_figure
from pytorch.transformations import brightness, rotations
from pytorch.variance import measure_variance, measure_variances


def measured(count, transformations=None, **options):
    """Results of both measures of some networks, of which two layers have no map that could be turned back."""
    torch.manual_seed(0)
    images = torch.rand(30, 1, 12, 12)
    networks = {
        f"network {place}": nn.Sequential(
            nn.Conv2d(1, 4 + place, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16 + 4 * place, 3)
        )
        for place in range(count)
    }
    options = {"measure": "both", **options}
    return measure_variances(networks, images, torch.arange(30) % 3, transformations or rotations(3), **options)


def test_a_path_has_the_means_of_both_measures_and_profiles_have_them_by_depth(tmp_path):
    found = measured(2)
    before = pickle.dumps([side.to_dict() for both in found.values() for side in both.values()])
    figure = equivariance_figure(found)
    save_figure(figure, tmp_path / "figure.png")
    assert pickle.dumps([side.to_dict() for both in found.values() for side in both.values()]) == before
    path, invariance, equivariance = figure.axes
    lines = [line for line in path.get_lines() if len(line.get_xdata()) == 4]
    assert len(lines) == 2
    for line, profile, other, both in zip(
        lines, invariance.get_lines(), equivariance.get_lines(), found.values(), strict=False
    ):
        assert both["equivariance"].layer_names == ["0", "1", "4"]
        one, two, last = both["equivariance"].layer_means().values()
        np.testing.assert_array_equal(line.get_xdata(), [one, two, np.nan, last])  # a gap for layer 2
        np.testing.assert_array_equal(line.get_ydata(), [*both["invariance"].layer_means().values()])
        np.testing.assert_array_equal(profile.get_ydata(), line.get_ydata())
        np.testing.assert_array_equal(other.get_ydata(), line.get_xdata())
        np.testing.assert_allclose(other.get_xdata(), [0, 1 / 3, 2 / 3, 1])
    dotted = [line.get_xdata() for line in path.get_lines() if line.get_linestyle() == ":" and line.get_alpha() == 0.8]
    ends = [[*both["equivariance"].layer_means().values()][1:] for both in found.values()]
    np.testing.assert_array_equal(dotted, ends)  # across the gap alone
    assert [np.isnan(end.get_xdata()).any() for end in path.get_lines() if len(end.get_xdata()) == 1] == 4 * [False]
    floor = found["network 0"]["equivariance"].floor
    assert any(np.all(np.asarray(line.get_xdata()) == floor) for line in path.get_lines())
    assert {"first layer", "last layer", "interpolation floor"} <= {text.get_text() for text in figure.legends[0].texts}
    exact = {name: {**both, "equivariance": replace(both["equivariance"], floor=0.0)} for name, both in found.items()}
    texts = {text.get_text() for text in equivariance_figure(exact).legends[0].texts}
    assert "last layer" in texts
    assert "interpolation floor" not in texts  # it would lie on the axis
    title = "2 networks: invariance against equivariance with 95 % intervals, all samples\n3 rotations, "
    assert figure.get_suptitle().startswith(title)
    assert "aggregation mean, 30 samples" in figure.get_suptitle()


@pytest.mark.parametrize("width", [3.4, 12])
def test_many_networks_fit_any_width(width, tmp_path):
    figure = equivariance_figure(measured(8), varying=True, width=width)
    save_figure(figure, tmp_path / "figure.png")
    assert figure.get_figwidth() == width
    assert "network 7" in {text.get_text() for text in figure.legends[0].texts}
    assert texts(figure)


def test_few_large_means_do_not_squeeze_the_others():
    both = measured(1)["network 0"]
    large = replace(both["equivariance"], tv_all=100 * both["equivariance"].tv_all)
    path, invariance, equivariance = equivariance_figure({"a": {**both, "equivariance": large}}).axes
    assert (path.get_xscale(), path.get_yscale()) == ("symlog", "linear")
    assert (invariance.get_yscale(), equivariance.get_yscale()) == ("linear", "symlog")
    assert {axes.get_xscale() for axes in equivariance_figure({"a": both}).axes} == {"linear"}


def test_a_group_needs_classes_in_both():
    found = measured(1, by_class=True)
    assert "stratified by class" in equivariance_figure(found, "stratified").get_suptitle()
    with pytest.raises(InputError, match="'network 0' has no group '2': choose from 'all'"):
        equivariance_figure(measured(1), "2")


def test_other_results_are_refused():
    both = measured(1)["network 0"]
    with pytest.raises(InputError, match='results must be a dictionary of results by name, each of measure="both"'):
        equivariance_figure(both)
    with pytest.raises(InputError, match=r"'a' has no results of both measures: measure it with measure=\"both\""):
        equivariance_figure({"a": {"invariance": both["invariance"]}})
    with pytest.raises(InputError, match="'a' has no results of both measures"):
        equivariance_figure({"a": {"invariance": both["invariance"], "equivariance": both["invariance"]}})
    with pytest.raises(InputError, match="differ in their transformations"):
        equivariance_figure({"a": both, "b": measured(1, brightness(3))["network 0"]})
    with pytest.raises(InputError, match="no results to draw"):
        equivariance_figure({})
    with pytest.raises(InputError, match="width is 0: it must be a number of inches"):
        equivariance_figure({"a": both}, width=0)
    model, images = nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(20, 1, 9, 9)
    several = measure_variance(model, images, None, rotations(3), measure="both", aggregation="mean,max")
    with pytest.raises(InputError, match="each of a single aggregation"):
        equivariance_figure({"a": several})
