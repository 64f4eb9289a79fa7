"""The words of the experiments: the two models of a pair, the two states of another network, controls, and names."""

UNROTATED, ROTATED = "unrotated", "rotated"
PAIR = (UNROTATED, ROTATED)
"""The two models of a pair, named after their training samples."""

UNTRAINED, TRAINED = "untrained", "trained"
STATES = (UNTRAINED, TRAINED)
"""The two states in which a network that is no model of a pair is measured: with random weights, and with its own."""

RANDOM_WEIGHTS, SHUFFLED = "random-weights", "shuffled"
CONTROLS = (RANDOM_WEIGHTS, SHUFFLED)
"""Measurements to compare with that of the trained models: before training, and with samples shuffled."""


def check_names(*names: str) -> None:
    """Check that names from a file do not lead to another folder.

    Raises:
        ValueError: A name is empty, contains a path separator or begins with a dot.
    """
    for name in names:
        if not name or name.startswith(".") or set(name) & set("/\\\0"):
            raise ValueError(f"{name!r} cannot be the name of a model, a data set or a transformation")
