"""Moments of any data, however they are cut into batches, classes and shards, and in whatever order they come.

The bounds that are tested, with ε = 2^-53, n observations in b batches, M the largest of their magnitudes, and S the
exact sum of squared deviations from the mean:

    |mean - exact| <= 4 (b + 1) ε M
    |m2   - exact| <= 4 ε (n S + b M √(n S)) + 4 n (b ε M)²

The first term of the second comes of rounding deviations and their squares; the others of a mean that is itself
rounded to ε M, which is felt where the spread is small beside the offset. The textbook formula loses n ε M² instead.
"""

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch.variance.statistics.moments import Groups, Moments

CLASSES = 3
EPSILON = 2.0**-53

# Squares must neither overflow nor vanish.
magnitudes = st.floats(1e-120, 1e120)
anything = st.one_of(st.just(0.0), magnitudes, magnitudes.map(lambda value: -value))


@st.composite
def streams(draw):
    """Values, a class for each, and the batches and shards that they come in."""
    count = draw(st.integers(1, 40))
    kind = draw(st.sampled_from(["any", "about an offset", "few values"]))
    if kind == "any":
        values = draw(st.lists(anything, min_size=count, max_size=count))
    elif kind == "about an offset":
        offset, scale = draw(anything), draw(magnitudes)
        values = [offset + scale * part for part in draw(st.lists(st.floats(-1, 1), min_size=count, max_size=count))]
    else:
        values = draw(st.lists(st.sampled_from(draw(st.lists(anything, min_size=1, max_size=2))), min_size=count,
                               max_size=count))  # fmt: skip
    labels = draw(st.lists(st.integers(0, CLASSES - 1), min_size=count, max_size=count))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, count - 1)), max_size=8)))
    batches = [part for part in np.split(np.arange(count), cuts) if len(part)]
    shards = draw(st.lists(st.integers(0, 2), min_size=len(batches), max_size=len(batches)))
    order = draw(st.permutations(range(3)))
    return np.array(values), np.array(labels), batches, shards, order


def accumulate(values, labels, batches, shards, order):
    """Moments of each class, from shards that were filled by themselves and merged in some order."""
    moments, seen = [Moments.empty(CLASSES, 1) for _ in range(3)], torch.zeros(3, CLASSES)
    for batch, shard in zip(batches, shards, strict=True):
        rows = torch.from_numpy(labels[batch])
        moments[shard].update(torch.from_numpy(values[batch, None]), Groups.of(rows, seen[shard]))
        seen[shard] += torch.bincount(rows, minlength=CLASSES)
    whole = moments[order[0]]
    for shard in order[1:]:
        whole.merge(moments[shard])
    return whole


def assert_close(found, values, batches):
    """Compare the moments of one group with the exact ones, and with NumPy's."""
    assert found.count.item() == len(values)
    if not len(values):
        return
    exact = [Fraction(value) for value in values.tolist()]
    mean = sum(exact) / len(exact)
    m2 = float(sum((value - mean) ** 2 for value in exact))
    largest, count, steps = float(abs(values).max()), len(values), batches + 3  # shards are merged, too
    slack = np.finfo(float).tiny
    of_mean = 4 * (steps + 1) * EPSILON * largest + slack
    of_m2 = 4 * EPSILON * (count * m2 + steps * largest * np.sqrt(count * m2)) + (
        4 * count * (steps * EPSILON * largest) ** 2 + slack
    )
    assert abs(Fraction(found.mean.item()) - mean) <= of_mean
    assert abs(found.mean.item() - values.mean()) <= 2 * of_mean
    assert abs(found.m2.item() - m2) <= of_m2
    assert abs(found.m2.item() - values.var() * count) <= 2 * of_m2 + 4 * count * EPSILON * m2
    assert found.m2.item() >= 0
    if (values == values[0]).all():
        assert found.m2.item() == 0


@settings(max_examples=400, deadline=None, derandomize=True)
@given(streams())
def test_every_class_and_all_together_agree_with_exact_arithmetic(stream):
    values, labels, batches, shards, order = stream
    found = accumulate(values, labels, batches, shards, order)
    for label in range(CLASSES):
        row = found.select(torch.tensor([label]))
        assert_close(row, values[labels == label], len(batches))
    assert_close(found.pooled(), values, len(batches) + CLASSES)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(streams(), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_within_the_bounds(stream, random):
    values, labels, batches, shards, order = stream
    shuffled = list(range(len(values)))
    random.shuffle(shuffled)
    found = accumulate(values[shuffled], labels[shuffled], batches, shards, order)
    assert_close(found.pooled(), values, len(batches) + CLASSES)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(streams(), st.integers(-100, 100))
def test_powers_of_two_scale_without_any_error(stream, exponent):
    values, labels, batches, shards, order = stream
    found = accumulate(values, labels, batches, shards, order)
    scaled = accumulate(values * 2.0**exponent, labels, batches, shards, order)
    assert torch.equal(scaled.mean, found.mean * 2.0**exponent)
    normal = found.m2 > 1e-230  # below, numbers lose digits
    assert torch.equal(scaled.m2[normal], found.m2[normal] * 2.0 ** (2 * exponent))
