"""A measurement: the results of both models of a pair, of a control or of one network, with their origin."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pytorch.errors import InputError, one_line
from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.protocol import Protocol, Setting
from pytorch.experiments.vocabulary import CONTROLS, PAIR, RANDOM_WEIGHTS, SHUFFLED, STATES, UNTRAINED, check_names
from pytorch.files.checked_fields import check_fields
from pytorch.names import EQUIVARIANCE
from pytorch.variance import VarianceResult
from pytorch.variance.equivariance import EquivarianceResult

ALIKE = "layer_names", "layer_shapes", "classes", "transformations", "aggregation", "dispersion"
"""Fields in which all results agree."""


@dataclass(frozen=True, eq=False)
class VariancePair:
    """Measurements on the same transformed samples: of both models of a pair, of a control, or of one network.

    Attributes:
        model: Architecture, by name.
        dataset: Name of the data set.
        transformation: Name of the transformation set.
        control: Key of ``CONTROLS``, or None.
        results: Results by model: ``"unrotated"`` and ``"rotated"``; of any other network ``"untrained"`` and
            ``"trained"``, or one of them. The user's own measurements may have a single one.
        accuracy: Accuracy of each trained model on ``upright`` and ``rotated`` test data.
        angle_curves: Accuracy of each model against the angle of the test data, where it was evaluated.
        training: Settings of the ``Protocol`` of each model's training; for other networks, how each was made.
        weights: Digest of each model's weights.
        source: Name or folder of the data set, as for ``load_dataset``.
        seed: Random seed for the selection and the order of samples.
        command: Command that made the measurement.
        machine: Processor that made the measurement.
        date: Time at the end of the measurement.
        seconds: Duration of the measurement.
        versions: Versions of Python and of the libraries.
        names: Names of the models in figures if not ``"unrotated model"`` and so on; never stored in a file.
    """

    model: str
    dataset: str
    transformation: str
    control: str | None
    results: dict[str, VarianceResult]
    accuracy: dict[str, dict[str, float]]
    angle_curves: dict[str, AngleCurve]
    training: dict[str, dict[str, Setting]]
    weights: dict[str, str]
    source: str
    seed: int
    command: str
    machine: str
    date: str
    seconds: float
    versions: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_results(
        cls, results: dict[str, VarianceResult], model: str, dataset: str, transformation: str | None = None
    ) -> "VariancePair":
        """Prepare one or two of the user's own measurements for drawing.

        Args:
            results: Results by their names in figures, of the same layers, transformations, classes and samples, and
                measured with the same options. The difference is the second minus the first. The names
                ``"unrotated"`` and ``"rotated"``, in either order, make a pair that can also be stored.
            model: Name of the network in figures.
            dataset: Name of the data in figures.
            transformation: Name of the transformations in figures; None: derived from their descriptions.

        Raises:
            InputError: A value is not a result, but, for example, a dictionary of results by aggregation. There are no
                or more than two results, they do not fit together, or a name cannot be part of a file name.
        """
        if not isinstance(results, dict) or not all(isinstance(each, VarianceResult) for each in results.values()):
            raise InputError("results must be a dictionary of one or two results by name, each of a single aggregation")
        if not 1 <= len(results) <= len(PAIR):
            raise InputError(f"{len(results)} results: one or two are drawn, side by side; compare() draws any number")
        if len(set(PAIR) - results.keys()) == 1 < len(results):
            raise InputError(f"the names {' and '.join(PAIR)} go together")
        known = next((names for names in (PAIR, STATES) if results.keys() <= set(names)), ())
        own_names = {} if known else dict(zip(PAIR, results, strict=False))
        places = own_names or {name: name for name in known if name in results}
        results = {place: results[name] for place, name in places.items()}
        first = next(iter(results.values()))
        try:
            alike = ["precision", "shuffled", "tolerance", *([] if first.tolerance else ["samples"])]
            check_alike(results.values(), alike)
            return cls(
                model, dataset, transformation or transformation_kind(first.transformations),
                SHUFFLED if first.shuffled else None, results, accuracy={}, angle_curves={},
                training={name: {} for name in results}, weights=dict.fromkeys(results, ""), source=dataset, seed=0,
                command="", machine="", date="", seconds=0.0, versions={}, names=own_names,
            )  # fmt: skip
        except ValueError as error:
            raise InputError(one_line(error)) from error

    def __post_init__(self) -> None:
        """Refuse names that lead out of the folder of figures, and fields that do not fit, as a file may contain them.

        Raises:
            ValueError: A field has another type. A name contains a path separator or begins with a dot. The models
                are not those of a pair or of the control. The results differ in layers, classes or transformations.
        """
        check_fields(self)
        in_order = [name for name in self._whole if name in self.results]
        if self.control not in (None, *CONTROLS) or not self.results or [*self.results] != in_order:
            raise ValueError(f"results of {', '.join(self.results)} for the control {self.control}")
        if not self.names.keys() <= self.results.keys():
            raise ValueError("it names models that were not measured")
        check_alike(self.results.values())
        check_names(self.model, self.transformation, self.aggregation, self.dataset)

    @property
    def aggregation(self) -> str:
        """How feature maps became units: ``"mean"``, ``"max"``, ``"sum"``, ``"none"``, or ``"same-equivariance"``."""
        return self.any_result.aggregation

    @property
    def protocol(self) -> Protocol:
        """Everything the numbers depend on, except how the weights were trained.

        ``samples`` counts all available samples, also where a tolerance used only some of them.
        """
        result = self.any_result
        read = {"positions": result.most_positions} if isinstance(result, EquivarianceResult) else {}
        return Protocol(
            {
                "model": self.model,
                "dataset": self.dataset,
                "transformation": self.transformation,
                "control": self.control,
                "aggregation": result.aggregation,
                "samples": result.samples if result.tolerance is None else result.samples_offered,
                "steps": len(result.transformations),
                "transformations": result.transformations,
                "precision": result.precision,
                "tolerance": result.tolerance,
                "seed": self.seed,
                "weights": self.weights,
                **read,
            }
        )

    @property
    def any_result(self) -> VarianceResult:
        """One of the results, for the attributes that all share."""
        return next(iter(self.results.values()))

    @property
    def drawn_groups(self) -> list[str]:
        """Groups with a heatmap of their own: over all classes and, unless it is a control, each class of two samples.

        Of a single sample, NV has no value.
        """
        counts = np.max([result.class_counts for result in self.results.values()], axis=0)
        classes = [name for name, count in zip(self.any_result.classes, counts, strict=True) if count > 1]
        return [*self.any_result.summary_groups, *([] if self.control else classes)]

    @property
    def is_pair(self) -> bool:
        """Whether it holds an unrotated and a rotated model, or a control of such a pair."""
        return not self.names and tuple(self.results) == PAIR

    @property
    def is_complete(self) -> bool:
        """Whether it holds all that the scripts measure together, under their names."""
        return not self.names and (self._whole is STATES or tuple(self.results) == self._whole)

    @property
    def has_both(self) -> bool:
        """Whether there are two networks, whose difference can be drawn: second minus first."""
        return len(self.results) == 2

    @property
    def _whole(self) -> tuple[str, ...]:
        """The networks that are measured together."""
        if self.control == RANDOM_WEIGHTS:
            return (UNTRAINED,)
        return PAIR if self.results.keys() <= set(PAIR) else STATES

    def name(self, model: str) -> str:
        """Return the short name of a model: ``"rotated"``."""
        return self.names.get(model, model)

    def title(self, model: str) -> str:
        """Return the full name of a model: ``"rotated model"``."""
        return self.names.get(model, f"{model} model")

    @property
    def training_seed(self) -> int | None:
        """The seed of the trainings; None: unknown, or different seeds."""
        seeds = [training.get("seed") for training in self.training.values()]
        return seeds[0] if seeds and isinstance(seeds[0], int) and seeds.count(seeds[0]) == len(seeds) else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and numpy arrays, without ``names``."""
        return {
            **{name: value for name, value in vars(self).items() if name != "names"},
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "angle_curves": {name: asdict(curve) for name, curve in self.angle_curves.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "VariancePair":
        """Rebuild a pair from the output of ``to_dict``.

        Raises:
            TypeError, KeyError, ValueError: The content does not describe a pair.
        """
        results = {name: _result(result) for name, result in content["results"].items()}
        curves = {name: AngleCurve(**curve) for name, curve in content["angle_curves"].items()}
        return cls(**{**content, "results": results, "angle_curves": curves})


def _result(content: dict[str, Any]) -> VarianceResult:
    kind = EquivarianceResult if content["aggregation"] == EQUIVARIANCE else VarianceResult
    return kind.from_dict(content)


def check_alike(results: Iterable[VarianceResult], fields: Sequence[str] = ALIKE) -> None:
    """Check that results agree in some fields.

    Raises:
        ValueError: They differ; the message names the field.
    """
    for attribute in fields:
        first, *others = (getattr(result, attribute) for result in results)
        if any(other != first for other in others):
            raise ValueError(f"its results differ in their {attribute.replace('_', ' ')}")


def transformation_kind(transformations: Sequence[str]) -> str:
    """Name a set of transformations after their descriptions.

    >>> transformation_kind(["rotation by 0°", "rotation by 180°"])
    'rotation'
    >>> transformation_kind(["rotation by 0°, disc", "rotation by 180°, disc"])
    'rotation-disc'
    >>> transformation_kind(["rotation by 0°", "rotation by 0°, brightness times 0.25"])
    'transformation'
    """
    for name, form in (("rotation", r"rotation by [^,]+"), ("rotation-disc", r"rotation by [^,]+, disc")):
        if all(re.fullmatch(form, each) for each in transformations):
            return name
    return "transformation"
