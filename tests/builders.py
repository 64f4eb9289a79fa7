"""Small results, measurements, tables and figures, ready-made, and what several test modules ask of them."""

from dataclasses import replace

import numpy as np
import torch

from pytorch.datasets.normalization import Normalization
from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.provenance import versions
from pytorch.experiments.recipes import Recipe
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.training import Epoch
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR, RANDOM_WEIGHTS
from pytorch.models import build_model
from pytorch.report.findings import Findings, Measured
from pytorch.report.gallery import Plot
from pytorch.variance import VarianceResult
from pytorch.variance.equivariance import EquivarianceResult
from pytorch.variance.standard_errors import LayerErrors

HOSTILE = "=a|b\\c\\|d&e%f$g#h_i{j}k~l^m<n>o`p*q[r]\r\n-->{\\end{tabular} \u2028×±–\u202eé漢\ud800"
"""A name that no format of tables takes as it is."""

MARKUP = "</script><img src=x onerror=alert(1)>"

FIRST_OF_ROW = ["[1cm]", "*", "+1"]
"""Names that mean something else at the beginning of a row."""

NAMES = [HOSTILE, *FIRST_OF_ROW]


def result(**changes):
    """Two layers of two units; the second class has one sample."""
    content = {
        "layer_names": ["conv", "linear"],
        "layer_shapes": [(2,), (2,)],
        "classes": ["ant", "bee", "cow"],
        "class_counts": np.array([2, 1, 3]),
        "samples": 6,
        "samples_offered": 6,
        "transformations": ["0", "1"],
        "aggregation": "mean",
        "dispersion": "std",
        "precision": "fp32",
        "tolerance": None,
        "shuffled": False,
        "never_called": [],
        "not_measured": {},
        "tv_all": np.array([1.0, 0.0, 1.0, 3.0]),
        "sv_all": np.array([2.0, 0.0, 0.0, 1.0]),
        "tv_classes": np.array([[1.0, 0.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 1.0, 3.0]]),
        "sv_classes": np.array([[1.0, 0.0, 0.0, 1.0], [np.nan] * 4, [1.0, 0.0, 1.0, 2.0]]),
    }
    content |= changes
    layers = len(content["layer_names"])
    follows = {
        "errors": errors(len(content["classes"]), layers),
        "layer_axes": [[1]] * layers,
        "layer_axes_known": ["known"] * layers,
    }
    return VarianceResult(**{**follows, **content})


def equivariance(**changes):
    """The layers of ``result`` turned back: one is read at 3 of the 6 positions that are kept, one has no positions."""
    none = np.empty((0, 4))
    unlabelled = {"classes": [], "class_counts": np.empty(0, dtype=int), "tv_classes": none, "sv_classes": none}
    content = {
        **vars(result(aggregation="same-equivariance", errors=errors(0, 2), **unlabelled)),
        "map_sizes": [[3, 4], []],
        "positions": [np.array([[0, 1], [2, 0], [2, 3]]), np.empty((0, 2), dtype=int)],
        "positions_kept": [6, 1],
        "relative_errors": [0.25, 0.5],
        "floor": 0.125,
        "floor_error": 0.0625,
    }
    return EquivarianceResult(**content | changes)


def equivariance_pair(**changes):
    """The equivariance of the models of ``pair_of``."""
    turned = {name: equivariance() for name in PAIR}
    return pair_of(results=turned, **changes)


def errors(classes, layers):
    """Distinct errors: 0.01 for TV, 0.02 for SV, 0.03 for NV, 0.04 stratified; they grow from column to column."""
    step = np.arange(layers + 1) / 1000
    of_all = np.stack([level + step for level in (0.01, 0.02, 0.03)])
    return LayerErrors(
        all=of_all,
        classes=of_all * np.arange(2, classes + 2).reshape(-1, 1, 1),
        stratified=0.04 + step,
        bias_all=0.001 + step,
        bias_classes=np.full((classes, layers + 1), 0.002),
        bias_stratified=0.003 + step,
    )


def of_layers(sizes, classes=("ant", "bee"), **changes):
    """A result of random values, with layers of these sizes."""
    random, units = np.random.default_rng(0), sum(sizes)
    return result(
        layer_names=[f"block{index // 3}.layer{index}" for index in range(len(sizes))],
        layer_shapes=[(size,) for size in sizes], classes=list(classes), class_counts=np.full(len(classes), 3),
        tv_all=random.random(units), sv_all=random.random(units) + 0.5,
        tv_classes=random.random((len(classes), units)), sv_classes=random.random((len(classes), units)) + 0.5,
        errors=errors(len(classes), len(sizes)), **changes,
    )  # fmt: skip


def both(**changes):
    """Equal results of both models."""
    return {trained_on: result(**changes) for trained_on in PAIR}


def unlabelled(samples=6):
    """Results of both models on samples without classes."""
    part = result()
    no_errors = replace(part.errors, classes=part.errors.classes[:0], bias_classes=part.errors.bias_classes[:0])
    empty, none = np.empty((0, 4)), np.empty(0, dtype=int)
    return both(classes=[], class_counts=none, tv_classes=empty, sv_classes=empty, errors=no_errors, samples=samples)


def pair(**changes):
    """A measurement of both models, the rotated one with units that are undefined and infinite."""
    accuracy = {"upright": 0.98765, "rotated": 0.25}
    content = {
        "control": None,
        "model": "simple_conv",
        "dataset": "mnist",
        "transformation": "rotation",
        "results": {"unrotated": result(), "rotated": result(tv_all=np.array([np.nan, np.inf, 0.0, 1.0]))},
        "accuracy": {"unrotated": accuracy, "rotated": accuracy},
        "angle_curves": {},
        "training": {"unrotated": {"seed": 0, "epochs": 3}, "rotated": {"seed": 0, "epochs": 7}},
        "weights": {"unrotated": "0" * 16, "rotated": "1" * 16},
        "source": "mnist",
        "seed": 5,
        "command": "python experiment_variance.py simple_conv mnist",
        "machine": "a processor",
        "date": "2026-01-31 12:00 UTC",
        "seconds": 1.5,
        "versions": {},
    }
    return VariancePair(**content | changes)


def complete_pair():
    """A measurement in which no optional field is empty."""
    accuracy = {"upright": 0.5, "rotated": 0.25}
    curve = AngleCurve([0.0, 90.0], [[1, 1, 2], [0, 1, 2]], [2, 1, 3])
    options = {"not_measured": {"lstm": "why"}, "layer_axes": [[1], [2]], "layer_axes_known": ["known", "assumed"],
               "rounding": np.full(4, 1e-9)}  # fmt: skip
    return pair(
        dataset="digits",
        results={
            "unrotated": result(**options),
            "rotated": result(tv_all=np.array([np.nan, np.inf, 0.0, 1.0]), **options),
        },
        accuracy=dict.fromkeys(PAIR, accuracy),
        angle_curves=dict.fromkeys(PAIR, curve),
        training={name: {"seed": 0} for name in PAIR},
        source="digits",
        seed=0,
        command="python experiment_variance.py simple_conv digits",
        versions=versions(),
    )


def pair_of(unrotated=None, rotated=None, control=None, **changes):
    """A measurement of the digits with these results, or of a control."""
    found = dict(
        zip(PAIR, (unrotated or result(), rotated or result(tv_all=np.array([0.25, 0, 0.5, 1.25]))), strict=True)
    )
    results = {"untrained": unrotated or result()} if control == RANDOM_WEIGHTS else found
    content = {
        "dataset": "digits", "control": control, "results": results, "accuracy": {},
        "training": {name: {"seed": 0} for name in results}, "weights": {name: f"digest-{name}" for name in results},
        "source": "digits", "seed": 0, "command": "python experiment_variance.py", "date": "2026-01-31",
        "versions": versions(),
    }  # fmt: skip
    return pair(**content | changes)


def untrained(**changes):
    """The control of random weights."""
    content = {"results": {"untrained": result()}, "accuracy": {}, "training": {"untrained": {"seed": 0, "epochs": 0}}}
    return pair(control="random-weights", weights={"untrained": "2" * 16}, **content | changes)


def shuffled(**changes):
    """The control of shuffled samples."""
    return pair(control="shuffled", **changes)


def hostile():
    """A measurement whose names no format of tables takes as they are."""
    sizes = {"layer_names": NAMES, "layer_shapes": [(1,)] * 4, "classes": ["@x", "-1", HOSTILE]}
    return pair(dataset="a_b%|=c", results=both(**sizes))


def of_both(measurement, **changes):
    """The measurement with equal results of both models."""
    return replace(measurement, results=both(**changes))


def trained_model():
    """A model after two epochs that nobody has trained."""
    network = build_model("simple_conv", 1, 3)
    return TrainedModel(
        model="simple_conv",
        dataset="digits",
        trained_on="rotated",
        channels=1,
        classes=["a", "b", "c"],
        normalization=Normalization((0.25,), (0.5,)),
        recipe=Recipe(2, 2),
        precision="fp32",
        seed=4,
        samples=10,
        samples_seed=None,
        history=[Epoch(2.0, 0.5, 1.0), Epoch(1.0, 0.5, 1.0)],
        accuracy={"upright": 0.5, "rotated": 0.25},
        angle_curve=AngleCurve([0.0, 90.0], [[1, 0, 0], [0, 1, 0]], [2, 1, 1]),
        test_samples=4,
        weights=network.state_dict(),
        versions=versions(),
    )


def found_in(*pairs, repeats=(), trained_pairs=None):
    """Findings as if a results folder had these measurements."""
    return Findings(
        [Measured(each, f"{place:016}") for place, each in enumerate(pairs)],
        trained_pairs or {},
        repeats=list(repeats),
    )


def rows(table):
    """A dictionary for each row of a table."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def drawn_figure(name, **of):
    """A figure in the folder of the page."""
    return Plot(name, "layers", f"a title {MARKUP}", of, (), command="python plot_variances_models.py")


def texts(figure):
    """Every text in a figure, one a line."""
    found = [axes.get_title(loc=loc) for axes in figure.axes for loc in ("left", "center")]
    found += [label.get_text() for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    found += [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
    found += [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    found += [text.get_text() for legend in legends for text in legend.get_texts()]
    return "\n".join([figure.get_suptitle(), *found])


def table(*shape, seed=0):
    """Random numbers, as activations."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_alike(found, expected):
    """See that statistics and their errors, in single precision, agree but for rounding."""
    for part, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-10, atol=0)
    for part, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-4, atol=1e-6)
