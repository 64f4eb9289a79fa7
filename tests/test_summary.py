"""What is printed at the end of a measurement."""

import numpy as np
from builders import both, pair, result

from pytorch.experiments.summary import print_summary


def test_units_of_rounding_alone_are_counted_where_there_are_any(capsys):
    print_summary(pair())
    assert "rounding" not in capsys.readouterr().out
    print_summary(pair(results={"unrotated": result(rounding=np.full(4, 1.5)), "rotated": result()}))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "rounding" in line and "all samples" in line)
    told = "unrotated model, all samples 4 units 1 are 0/0 1 not finite 1 vary by rounding alone"
    assert " ".join(line.split()) == told


def test_what_was_not_measured_is_told_by_reason_without_copies(capsys):
    reasons = {**dict.fromkeys("adef", "no tensor"), "b": "no batch", "c": "a copy: of others"}
    print_summary(pair(results=both(not_measured=reasons)))
    told = [line.strip() for line in capsys.readouterr().out.splitlines() if "not measured" in line]
    assert told == ["not measured: 4 layers (a, d, e, ...): no tensor", "not measured: 1 layer (b): no batch"]


def test_layers_whose_axes_are_assumed_are_told(capsys):
    print_summary(pair(results=both(layer_axes=[[1], [1]], layer_axes_known=["known", "assumed"])))
    assert "the channel axes are assumed, not known, of 1 layer (linear)" in capsys.readouterr().out
    print_summary(pair())
    assert not {"assumed", "measured:"} & {*capsys.readouterr().out.split()}
