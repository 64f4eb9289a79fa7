"""Evenly spaced parameters."""

from pytorch.errors import InputError


def geometric(steps: int, first: float, last: float, what: str) -> list[float]:
    """Return ``steps`` numbers from ``first`` to ``last``, both included, each the same multiple of the one before.

    >>> geometric(3, 1, 4, "scalings")
    [1.0, 2.0, 4.0]

    Raises:
        InputError: Fewer than two, or an end that is not above 0, or both ends the same; ``what`` names them.
    """
    if steps < 2:
        raise InputError(f"{steps} {what}: at least two are needed to reach from {first:g} to {last:g}")
    if not (first > 0 and last > 0 and first != last):
        raise InputError(f"{what} cannot reach from {first:g} to {last:g}: two different numbers above 0 are needed")
    return [first * (last / first) ** (step / (steps - 1)) for step in range(steps)]
