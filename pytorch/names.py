"""The names that a user can give, and how to find the one that is meant.

Importing this module imports no torch: the scripts read their options with it first.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pytorch.errors import InputError

TRANSFORMATIONS = {
    "rotation": "pytorch.transformations:rotations",
    "rotation-disc": "pytorch.transformations.rotation:disc_rotations",
    "translation": "pytorch.transformations:translations",
    "scale": "pytorch.transformations:scalings",
    "brightness": "pytorch.transformations:brightness",
}
"""Name of a set of transformations to the function that builds it from a number of steps."""

AGGREGATIONS = ("mean", "max", "sum", "none")
"""Ways to reduce the positions of an activation; with ``"none"`` every position is a unit."""

MEASURES = ("invariance", "equivariance", "both")
"""What to measure: how much activations vary, how much they do once they are turned back, or both in one pass."""

EQUIVARIANCE = "same-equivariance"
"""What stands for an aggregation where maps are turned back instead."""

POSITIONS = 64
"""Default number of positions of a feature map that are turned back."""

PRECISIONS = ("fp32", "bf16")
"""Number formats of convolutions and matrix products; ``"fp32"`` keeps the model's own dtype."""

FORMATS = ("png", "pdf", "svg")
"""File formats of figures."""

WIDTHS = (2, 60)
"""Least and greatest width of a figure, in inches."""


def match_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that equals ``name`` but for letter case, ``-`` and ``_``; None if there is none.

    >>> match_name("AllConvolutional", ["all_convolutional", "resnet"])
    'all_convolutional'
    """
    return {_key(candidate): candidate for candidate in known}.get(_key(name))


def find_name(name: str, known: Iterable[str], kind: str) -> str:
    """Return the known name that ``match_name`` finds.

    Raises:
        InputError: No known name matches, or it is no string; the message suggests the nearest and lists all.

    >>> find_name("resnt", ["all_convolutional", "resnet"], "model")
    Traceback (most recent call last):
    pytorch.errors.InputError: unknown model 'resnt': did you mean resnet? There are all_convolutional, resnet
    """
    known = list(known)
    if not isinstance(name, str):
        raise InputError(f"the {kind} is {name!r}: it must be a name. There are {', '.join(known)}")
    match = match_name(name, known)
    if match is not None:
        return match
    nearest = get_close_matches(_key(name), map(_key, known), n=1)
    hint = f"did you mean {match_name(nearest[0], known)}? " if nearest else ""
    raise InputError(f"unknown {kind} {name!r}: {hint}There are {', '.join(known)}")


def aggregation_names(aggregation: str | Sequence[str]) -> list[str]:
    """Return the aggregations in a name, in a list with commas, or in a sequence of names.

    >>> aggregation_names("mean,max")
    ['mean', 'max']

    Raises:
        InputError: A name is unknown or repeated, or there is none.
    """
    if not isinstance(aggregation, Iterable):
        raise InputError(f"aggregation is {aggregation!r}: choose from {', '.join(AGGREGATIONS)}")
    names = [name.strip() for name in aggregation.split(",")] if isinstance(aggregation, str) else list(aggregation)
    for name in names:
        if name not in AGGREGATIONS:
            raise InputError(f"unknown aggregation {name!r}: choose from {', '.join(AGGREGATIONS)}")
    if not names or len(set(names)) < len(names):
        raise InputError("name each aggregation once, and at least one")
    return names


def kinds_of(measure: str, aggregations: Sequence[str]) -> list[str]:
    """Return the aggregations of the results that a measure gives, of which each has a file of its own.

    >>> kinds_of("both", ["mean", "max"]), kinds_of("equivariance", ["mean"])
    (['mean', 'max', 'same-equivariance'], ['same-equivariance'])
    """
    kinds = [] if measure == "equivariance" else [*aggregations]
    return kinds if measure == "invariance" else [*kinds, EQUIVARIANCE]


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
