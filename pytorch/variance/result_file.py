"""The file of one result: sealed, and safe to read from a stranger."""

import math
from typing import TYPE_CHECKING

from pytorch.files.checked_fields import check_fields, check_lengths, demand
from pytorch.files.sealed_file import Format
from pytorch.variance.recording.channel_axes import ASSUMED, GIVEN, KNOWN

if TYPE_CHECKING:
    from pytorch.variance.result import VarianceResult

RESULT_FORMAT = Format("variance-experiments result", version=1)

LONGEST_REASON = 1000
"""Maximum number of letters in the reason why something was not measured."""


def check_result(result: "VarianceResult") -> "VarianceResult":
    """Check a result from or for a file, and return it.

    Raises:
        ValueError: No measurement gives such a result; the message says why.
    """
    check_fields(result)
    check_lengths([*result.layer_names, *result.classes, *result.transformations, *result.not_measured])
    check_lengths(result.not_measured.values(), LONGEST_REASON)
    demand(len(result.layer_names) > 0, "it has no layers")
    demand(len(result.transformations) > 0, "it has no transformations")
    demand(result.samples >= 0 and bool((result.class_counts >= 0).all()), "its numbers of samples are impossible")
    demand(result.tolerance is None or 0 < result.tolerance < math.inf, "its tolerance is impossible")
    rounding = result.rounding
    fits = rounding is None or bool(((rounding >= 0) & (rounding < math.inf)).all())
    demand(fits, "its rounding bounds are impossible")
    demand({*result.layer_axes_known} <= {KNOWN, ASSUMED, GIVEN}, "its axes are neither known, assumed nor given")
    demand(all(axis > 0 for axes in result.layer_axes for axis in axes), "its axes are impossible")
    return result
