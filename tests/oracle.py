"""The definition of the measure, by the whole ST matrix, in NumPy float64 and without the engine."""

from copy import deepcopy

import numpy as np
import torch

from pytorch.variance.definition import variances
from pytorch.variance.partial_result import filler

AGGREGATE = {
    "mean": lambda table, axes: table.mean(axis=axes),
    "max": lambda table, axes: table.max(axis=axes),
    "sum": lambda table, axes: table.sum(axis=axes),
    "none": lambda table, axes: table,
}
POSITIONS = {5: (3, 4), 4: (2,)}
"""Axes of a table (N, T, C, H, W) or, of tokens, (N, T, L, D)."""


def add_shard(accumulator, other):
    """Add the samples of an accumulator with the same arguments and labels, as ``merge_results`` does."""
    accumulator.merge_shard(filler(tensor.numpy() for tensor in other.tensors()), fewest=0)


def activations(model, inputs):
    """Every tensor that a module computes, call by call, of a copy of the model that does nothing in place.

    It is none of its input's memory, nor the output of a module within it as that left it.
    """
    model = deepcopy(model).eval()
    found, seen = [], {}

    def is_new(tensor, args):
        given = {each.untyped_storage().data_ptr() for each in args if isinstance(each, torch.Tensor)}
        before = seen.get(id(tensor), (None, tensor.new_empty(0)))[1]
        return tensor.untyped_storage().data_ptr() not in given and not torch.equal(before, tensor)

    def keep(name):
        def hook(module, args, output):
            parts = [(name, output)]
            if isinstance(output, tuple):
                parts = [(f"{name}[{index}]", part) for index, part in enumerate(output) if part is not None]
            for part, tensor in parts:
                if is_new(tensor, args) and type(module).__name__ != "_DenseBlock":  # which concatenates
                    found.append((part, tensor.clone().numpy().astype(np.float64)))
                    seen[id(tensor)] = tensor, tensor.clone()

        return hook

    for name, module in model.named_modules():
        if hasattr(module, "inplace"):
            module.inplace = False
        module.register_forward_hook(keep(name or type(module).__name__))
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
        axes = POSITIONS.get(table.ndim)
        layers.append((calls[0][0], AGGREGATE[aggregation](table, axes) if axes else table))
    return layers


def assert_agrees(result, layers, labels, rtol, dispersion="std", ulps=0):
    """Compare TV, SV and NV of all samples, of each class and stratified, layer call by layer call.

    Args:
        ulps: How many units in the last place of the largest activation of a unit two forward passes may differ by
            (batches of another size are summed in another order); nothing finer is asked of its TV and SV, and NV is
            compared where both are coarser.
    """
    labels = np.asarray(labels)
    names = iter(result.layer_names)
    assert len(result.layer_names) == len(layers)
    for expected_name, table in layers:
        name = next(names)
        assert name.split("#")[0] == expected_name
        resolution = ulps * np.finfo(np.float64).eps * np.abs(table).max(axis=(0, 1))
        groups = {"all": slice(None)} | {str(label): labels == label for label in np.unique(labels)}
        ratios, coarse = {}, True
        for group, members in groups.items():
            tv, sv, ratios[group] = variances(table[members], dispersion)
            for found, expected in ((result.transformation_variance(group), tv), (result.sample_variance(group), sv)):
                assert found[name].shape == expected.shape
                assert found[name].dtype == np.float64
                excess = np.abs(found[name] - expected) - resolution
                assert (excess <= rtol * expected).all(), f"{name} {group}: {(excess / expected).max()}"
            clear = np.minimum(tv, sv) >= resolution / rtol
            coarse &= clear
            found = result.normalized_variance(group)[name]
            np.testing.assert_allclose(
                found[clear], ratios[group][clear], rtol=(4 if ulps else 1) * rtol, err_msg=f"{name} {group}"
            )
        stratified = np.mean([ratios[group] for group in groups if group != "all"], axis=0)
        found = result.normalized_variance("stratified")[name]
        np.testing.assert_allclose(found[coarse], stratified[coarse], rtol=(4 if ulps else 1) * rtol, err_msg=name)
