"""The summaries that trainings and measurements print at their end."""

import numpy as np

from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.training import Epoch
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR, ROTATED
from pytorch.variance.equivariance import EquivarianceResult
from pytorch.variance.result import GROUP_TITLES

MOST_NAMED = 3
"""Maximum number of layers that a line names."""


def epoch_line(number: int, epochs: int, epoch: Epoch, samples: int) -> str:
    """Summarize an epoch: its number, loss, accuracy and speed over ``samples`` samples."""
    speed = f"{epoch.seconds:.1f} s, {samples / epoch.seconds:.0f} images/s"
    return f"epoch {number}/{epochs}, loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}, {speed}"


def print_accuracies(pairs: list[dict[str, TrainedModel]]) -> None:
    """Print a table of the four accuracies of each pair, and of several the mean ± standard deviation (ddof = 1)."""
    heads = [f"{trained_on} model, {data}" for trained_on in PAIR for data in ("upright", "rotated")]
    trained = pairs[0][ROTATED]
    print(f"\naccuracy on {trained.test_samples} test samples, upright and rotated, {trained.precision}")
    print(f"  {'seed':<6}{''.join(f'{head:>25}' for head in heads)}")
    for pair in pairs:
        row = [f"{accuracy:.2%}" for accuracy in four_accuracies(pair)]
        print(f"  {pair[ROTATED].seed:<6}{''.join(f'{cell:>25}' for cell in row)}")
    if len(pairs) > 1:
        table = 100 * np.array([four_accuracies(pair) for pair in pairs])
        row = [
            f"{mean:.2f} ± {sd:.2f} %" for mean, sd in zip(table.mean(axis=0), table.std(axis=0, ddof=1), strict=True)
        ]
        print(f"  {'mean':<6}{''.join(f'{cell:>25}' for cell in row)}")


def four_accuracies(pair: dict[str, TrainedModel]) -> list[float]:
    """Return the accuracies of the unrotated, then the rotated model, each on upright and rotated data."""
    return [pair[trained_on].accuracy[data] for trained_on in PAIR for data in ("upright", "rotated")]


def print_summary(pair: VariancePair) -> None:
    """Print the global means of the normalized variance with their errors, and what they leave out."""
    result = pair.any_result
    shown = [group for group in GROUP_TITLES if group in result.groups]
    what = pair.aggregation if pair.control is None else f"{pair.aggregation}, control {pair.control}"
    of_seed = "" if pair.training_seed is None else f", seed {pair.training_seed}"
    head = f"normalized variance under {pair.transformation}, {what}{of_seed}"
    print(f"\n{head}\n  {'global mean':<57}{'   '.join(f'{GROUP_TITLES[group]:>17}' for group in shown)}")
    for name, found in pair.results.items():
        means = (f"{found.global_mean(group):.4f} ± {found.global_error(group):.4f}" for group in shown)
        print(f"  {name + ' model':<57}{'   '.join(f'{mean:>17}' for mean in means)}")
    print(f"  {samples_used(pair)}, {len(result.transformations)} transformations; ± one standard error")
    if isinstance(result, EquivarianceResult):
        floor = f"{result.floor:.4f} ± {result.floor_error:.4f}"
        print(f"  up to {result.most_positions} positions of a map")
        print(f"  floor, of the images transformed and transformed back: {floor}")
    if any(np.isnan(found.global_error(group)) for found in pair.results.values() for group in shown):
        print("  a standard error that is nan is unknown: there are too few samples, in a class or in a process")
    print("  of the units, 0/0 count as 1, and those that are not finite are left out of the means:")
    for name, found in pair.results.items():
        for group in shown:
            counts = found.unit_counts(group)
            rounding = f"{counts['rounding']:9d} vary by rounding alone" if counts["rounding"] else ""
            not_finite = counts["infinite"] + counts["undefined"]
            print(f"  {name + ' model, ' + GROUP_TITLES[group]:<31}{counts['units']:9d} units"
                  f"{counts['constant']:9d} are 0/0{not_finite:9d} not finite{rounding}")  # fmt: skip
    for name, found in pair.results.items():
        if odd := found.non_finite_units():
            named = ", ".join(f"{count} units of {layer}" for layer, count in odd.items())
            print(f"  {name} model: activations that are NaN or infinite, in {named}")
    few = [name for name, count in zip(result.classes, result.class_counts, strict=True) if count < 2]
    if few:
        print(f"  fewer than two samples, so no sample variance, and left out of stratified: {', '.join(few)}")
    if result.never_called:
        print(f"  modules that the network never called, and that are not seen: {', '.join(result.never_called)}")
    unmeasured: dict[str, list[str]] = {}
    for name, reason in result.left_out.items():
        unmeasured.setdefault(reason, []).append(name)
    for reason, names in unmeasured.items():
        print(f"  not measured: {_some(names)}: {reason}")
    if assumed := [layer.name for layer in result.layers if layer.axes_known == "assumed"]:
        print(f"  the channel axes are assumed, not known, of {_some(assumed)}")


def _some(names: list[str]) -> str:
    """Count layers and name the first few.

    >>> _some(["a", "b", "c", "d"]), _some(["a"])
    ('4 layers (a, b, c, ...)', '1 layer (a)')
    """
    named = ", ".join([*names[:MOST_NAMED], *(["..."] if len(names) > MOST_NAMED else [])])
    return f"{len(names)} {'layer' if len(names) == 1 else 'layers'} ({named})"


def samples_used(pair: VariancePair) -> str:
    """Say how many samples were used and, with a tolerance, whether it was reached before the last one."""
    result = pair.any_result
    if result.tolerance is None or result.samples_offered is None:
        return f"{result.samples} samples"
    counts = {name: each.samples for name, each in pair.results.items()}
    if len(set(counts.values())) > 1:  # each model was measured until its own means were known well enough
        each = ", ".join(f"{count} ({name})" for name, count in counts.items())
        return f"{each} of {result.samples_offered} samples (tolerance {result.tolerance:g})"
    if result.samples == result.samples_offered:
        return f"all {result.samples} samples (tolerance {result.tolerance:g} not reached before the last)"
    return f"{result.samples} of {result.samples_offered} samples (tolerance {result.tolerance:g})"
