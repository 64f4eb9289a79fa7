"""The file of a partial result: sealed, and safe to read from a stranger."""

from itertools import islice, repeat
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

from pytorch.files.checked_fields import check_fields, check_lengths, demand
from pytorch.files.sealed_file import Format
from pytorch.variance.equivariance.equivariance_result import fits
from pytorch.variance.equivariance.map_layers import MapSetup, sizes_of
from pytorch.variance.outcome import Setup
from pytorch.variance.result_file import LONGEST_REASON
from pytorch.variance.statistics.accumulator import state_shapes
from pytorch.variance.statistics.moments import DISPERSIONS

if TYPE_CHECKING:
    from pytorch.variance.partial_result import PartialResult, Sums

PARTIAL_FORMAT = Format("variance-experiments partial result", version=2)


def check_partial(part: "PartialResult") -> "PartialResult":
    """Check a shard from or for a file, and return it.

    Raises:
        ValueError: No measurement gives such a shard; the message says why.
    """
    check_fields(part)
    demand(0 <= part.shard < part.shards, "there is no such shard")
    demand(part.probe.dtype == np.float64 and part.probe.shape[1:] == (2,), "its probe is impossible")
    setup, maps = part.setup, part.maps
    if setup is None:
        demand(not (part.sums or maps), "it has sums of an unknown network")
        return part
    demand(len(setup.transformations) > 1, "it has too few transformations")
    demand(len(part.probe) in (0, 1 + len(setup.transformations)), "its probe is impossible")
    check_lengths([layer.name for layer in setup.layers] + setup.transformations + (setup.classes or []))
    demand(all(size >= 0 for layer in setup.layers for size in layer.shape), "its layers have impossible shapes")
    sizes = [layer.units for layer in setup.layers]
    wholes = [*setup.columns.values()]
    demand(all(0 <= column < len(sizes) for whole in wholes for column in whole), "its aggregations lack layers")
    demand(setup.samples_offered is not None, "its number of samples is unknown")
    expected = {"transformations": len(setup.transformations), "dispersion": setup.dispersion}
    arguments = {"invariance": expected | {"layers": sizes, "wholes": wholes}}
    if maps is not None:
        _check_maps(maps, {layer.name for layer in setup.layers})
        arguments["equivariance"] = expected | sizes_of(maps.layers)
    measures = [*part.sums]
    demand(measures == [*arguments] or measures == [*arguments][1:] != [], "its sums are of other measures")
    for measure, sums in part.sums.items():
        is_named = setup.classes is not None and (measure == "invariance" or maps.by_class)
        _check_sums(sums, arguments[measure], setup, len(setup.classes) if is_named else None)
    rounding = setup.rounding
    fits_units = rounding is None or (rounding.dtype == np.float64 and rounding.shape == (sum(sizes),))
    demand(fits_units, "its rounding bounds are impossible")
    return part


def _check_maps(maps: MapSetup, names: set[str]) -> None:
    check_lengths([layer.name for layer in maps.layers] + [*maps.not_turned])
    check_lengths(maps.not_turned.values(), LONGEST_REASON)
    demand(all(size > 0 for layer in maps.layers for size in layer.shape), "its maps have impossible shapes")
    own = [layer.name for layer in maps.layers[1:]]
    demand(0 < len(own) == len({*own} & names), "its maps are not of its layers")
    demand(0 < maps.epsilon < 1, "its machine epsilon is impossible")
    fit = all(layer.places.dtype == np.int64 and fits(layer.size, layer.places, layer.kept) for layer in maps.layers)
    demand(fit, "its positions are not those of its maps")


def _check_sums(sums: "Sums", expected: dict[str, Any], setup: Setup, classes: int | None) -> None:
    labels, arguments, arrays = sums.labels, sums.arguments, sums.arrays
    demand(labels == sorted({*labels}) != [], "its labels are impossible")
    demand(classes is None or labels[-1] < classes, "its labels have no names")
    shape = arguments.get("shape")
    demand(isinstance(shape, tuple) and [type(size) for size in shape] == [int, int] and min(shape) > 0,
           "its blocks are impossible")  # fmt: skip
    demand(arguments == expected | {"shape": shape} and setup.dispersion in DISPERSIONS,
           "its sums are not those of its layers")  # fmt: skip
    # No work or memory exceeds what the size of the file accounts for.
    units = sum(map(mul, expected["layers"], expected.get("positions", repeat(1))))
    demand(units <= sum(array.size for array in arrays), "its sums are of fewer units")
    of_state = {name: value for name, value in arguments.items() if name != "dispersion"}
    shapes = [*islice(state_shapes(**of_state, classes=len(labels)), len(arrays) + 1)]
    kinds = "i" + 2 * "fii" + "f" * (len(shapes) - 7)
    found = [(array.shape, array.dtype.kind) for array in arrays]
    demand(found == [*zip(shapes, kinds, strict=True)], "its sums have other shapes")
    demand(bool((arrays[0] >= 0).all()), "its numbers of samples are impossible")
