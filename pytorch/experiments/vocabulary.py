"""The words of the experiments: the two models of a pair, the controls, and which names may stand for them."""

UNROTATED, ROTATED = "unrotated", "rotated"
PAIR = (UNROTATED, ROTATED)
"""The two models of a pair, by how they were trained."""

UNTRAINED = "untrained"
RANDOM_WEIGHTS, SHUFFLED = "random-weights", "shuffled"
CONTROLS = {RANDOM_WEIGHTS: (UNTRAINED,), SHUFFLED: PAIR}
"""Measurements to compare a pair's with, and the models that each is of."""


def check_names(*names: str) -> None:
    """Check that names from a file lead to no other folder.

    Raises:
        ValueError: A name has a path separator in it, or begins with a dot.
    """
    for name in names:
        if not name or name.startswith(".") or set(name) & set("/\\\0"):
            raise ValueError(f"{name!r} is no name of a model, a data set or a transformation")
