"""The definition of the measure, by the whole ST matrix, in NumPy float64 and without any code of the project."""

from copy import deepcopy

import numpy as np
import torch
from torch import nn

AGGREGATE = {
    "mean": lambda maps: maps.mean(axis=(-2, -1)),
    "max": lambda maps: maps.max(axis=(-2, -1)),
    "sum": lambda maps: maps.sum(axis=(-2, -1)),
    "none": lambda maps: maps,
}


def activations(model, inputs):
    """Every tensor that a leaf module returns, call by call, of a copy of the model that does nothing in place."""
    model = deepcopy(model).eval()
    found = []

    def keep(name):
        def hook(module, args, output):
            if isinstance(output, tuple):
                parts = [(f"{name}[{index}]", part) for index, part in enumerate(output)]
            else:
                parts = [(name, output)]
            found.extend((part, values.clone().numpy().astype(np.float64)) for part, values in parts)

        return hook

    for name, module in model.named_modules():
        if hasattr(module, "inplace"):
            module.inplace = False
        if not list(module.children()) and not isinstance(module, (nn.Identity, nn.Flatten, nn.Dropout)):
            module.register_forward_hook(keep(name))
    with torch.no_grad():
        model(inputs)
    return found


def st_matrices(model, images, transformations, preprocess=None, aggregation="mean"):
    """For each layer call (name, array (N, T, ...)): a(x, t) of every unit."""
    columns = []
    for transformation in transformations:
        inputs = transformation(images)
        columns.append(activations(model, inputs if preprocess is None else preprocess(inputs)))
    layers = []
    for calls in zip(*columns, strict=True):
        table = np.stack([values for _, values in calls], axis=1)
        layers.append((calls[0][0], AGGREGATE[aggregation](table) if table.ndim == 5 else table))
    return layers


def variances(table, dispersion="std"):
    """TV, SV and NV of an ST table (N, T, ...), by definition."""
    spread = {"std": np.std, "variance": np.var}[dispersion]
    tv = spread(table, axis=1, ddof=1).mean(axis=0)
    sv = spread(table, axis=0, ddof=1).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        nv = np.where((tv == 0) & (sv == 0), 1.0, tv / sv)
    return tv, sv, nv


def assert_agrees(result, layers, labels, rtol, dispersion="std"):
    """Compare TV, SV and NV of all samples, of each class and stratified, layer call by layer call."""
    labels = np.asarray(labels)
    names = iter(result.layer_names)
    assert len(result.layer_names) == len(layers)
    for expected_name, table in layers:
        name = next(names)
        assert name.split("#")[0] == expected_name
        groups = {"all": slice(None)} | {str(label): labels == label for label in np.unique(labels)}
        ratios = {}
        for group, members in groups.items():
            tv, sv, ratios[group] = variances(table[members], dispersion)
            for found, expected in (
                (result.transformation_variance(group), tv),
                (result.sample_variance(group), sv),
                (result.normalized_variance(group), ratios[group]),
            ):
                assert found[name].shape == expected.shape
                assert found[name].dtype == np.float64
                np.testing.assert_allclose(found[name], expected, rtol=rtol, atol=0, err_msg=f"{name} {group}")
        stratified = np.mean([ratios[group] for group in groups if group != "all"], axis=0)
        np.testing.assert_allclose(result.normalized_variance("stratified")[name], stratified, rtol=rtol)
