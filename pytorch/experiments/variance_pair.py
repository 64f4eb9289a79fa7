"""What a measurement leaves: the results of both models of a pair, or of a control, and how they came about."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pytorch.experiments.evaluation import AngleCurve
from pytorch.experiments.protocol import Protocol, Setting
from pytorch.experiments.vocabulary import CONTROLS, PAIR, SHUFFLED, check_names
from pytorch.files.checked_fields import check_fields
from pytorch.variance import VarianceResult


@dataclass(frozen=True, eq=False)
class VariancePair:
    """The measurements of both models of a pair, on the same transformed samples, or of a control.

    Attributes:
        model: Architecture, by name.
        dataset: Name of the data set.
        transformation: Name of the transformation set.
        control: None, or a key of ``CONTROLS``.
        results: ``"unrotated"`` and ``"rotated"``, or ``"untrained"``: what was measured; of what one measured oneself
            perhaps one alone.
        accuracy: Likewise: accuracy on ``upright`` and ``rotated`` test data; of an untrained network none.
        angle_curves: Likewise: accuracy against the angle of the test data, where it was evaluated.
        training: Likewise: what its weights follow from.
        weights: Likewise: a digest of its weights.
        source: What ``load_dataset`` takes for the data set: its name, or the path of a folder.
        seed: Of the choice and the order of samples.
        command: That made the measurement.
        machine: It was made on, and ``date`` and ``seconds``: when, and in what time.
        versions: Of Python and of the libraries.
        names: What figures call the models, where that is not ``"unrotated model"`` and so on; no file has these.
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
        """Put two measurements of one's own side by side, or take one alone, for drawing.

        Args:
            results: By what figures call them, of the same layers, transformations, classes and samples, measured in
                the same way. The difference is the second less the first. Two that are called ``"unrotated"`` and
                ``"rotated"``, in either order, make a pair like those of the scripts, which can be kept, too.
            model: What figures call the network.
            dataset: What they call the data.
            transformation: What they call the transformations; None: rotations if they are ours, masked or not.

        Raises:
            TypeError: A result is none: that of several aggregations, say, is a dictionary of results.
            ValueError: There are none, or more than two; they do not belong together; or a name cannot be that of a
                file.
        """
        if not isinstance(results, dict) or not all(isinstance(each, VarianceResult) for each in results.values()):
            raise TypeError("results must be a dictionary of one or two, by name, each of a single aggregation")
        if not 1 <= len(results) <= len(PAIR):
            raise ValueError(f"{len(results)} results: one or two are drawn, side by side")
        if len(set(PAIR) - results.keys()) == 1 < len(results):
            raise ValueError(f"the names {' and '.join(PAIR)} go together")
        own_names = {} if results.keys() <= set(PAIR) else dict(zip(PAIR, results, strict=False))
        places = own_names or {name: name for name in PAIR if name in results}
        results = {place: results[name] for place, name in places.items()}
        first = next(iter(results.values()))
        _check_alike(results, ["precision", "shuffled", "tolerance", *([] if first.tolerance else ["samples"])])
        transformation = transformation or _kind(first.transformations)
        return cls(
            model, dataset, transformation, SHUFFLED if first.shuffled else None, results, accuracy={}, angle_curves={},
            training={name: {} for name in results}, weights=dict.fromkeys(results, ""), source=dataset, seed=0,
            command="", machine="", date="", seconds=0.0, versions={}, names=own_names,
        )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse what a file may bring: names that lead out of the folder of figures, and what does not fit together.

        Raises:
            ValueError: A name has a path separator in it, or begins with a dot; a field has another type; or there
                are results of other models than those of a pair, or of the control, or of other layers, classes or
                transformations; or names of others.
        """
        check_fields(self)
        in_order = [name for name in self._whole if name in self.results]
        if self.control not in (None, *CONTROLS) or not self.results or [*self.results] != in_order:
            raise ValueError(f"results of {', '.join(self.results)} for the control {self.control}")
        if not self.names.keys() <= self.results.keys():
            raise ValueError("it names models that were not measured")
        alike = ["layer_names", "layer_shapes", "classes", "transformations", "aggregation", "dispersion"]
        _check_alike(self.results, alike)
        check_names(self.model, self.transformation, self.aggregation, self.dataset)

    @property
    def aggregation(self) -> str:
        """How feature maps became units."""
        return self.any_result.aggregation

    @property
    def protocol(self) -> Protocol:
        """Everything the numbers depend on; how the weights were trained is in ``training``.

        With a tolerance, a measurement uses only part of the samples: here all that it was offered count.
        """
        result = self.any_result
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
            }
        )

    @property
    def any_result(self) -> VarianceResult:
        """One of the results, for what they have in common."""
        return next(iter(self.results.values()))

    @property
    def is_complete(self) -> bool:
        """Whether this is all of a pair as scripts leave it, or of a control; results of one's own may be less."""
        return not self.names and tuple(self.results) == self._whole

    @property
    def has_both(self) -> bool:
        """Whether both models of a pair are there, one to subtract from the other."""
        return tuple(self.results) == PAIR

    @property
    def _whole(self) -> tuple[str, ...]:
        """The models that a pair, or the control, is of."""
        return CONTROLS.get(self.control, PAIR)

    def name(self, model: str) -> str:
        """What to call one of the models among them: ``"rotated"``."""
        return self.names.get(model, model)

    def title(self, model: str) -> str:
        """What to call one of the models where it stands alone: ``"rotated model"``."""
        return self.names.get(model, f"{model} model")

    @property
    def training_seed(self) -> int | None:
        """The seed of the training that was measured; None: unknown, or they differ."""
        seeds = [training.get("seed") for training in self.training.values()]
        return seeds[0] if seeds and isinstance(seeds[0], int) and seeds.count(seeds[0]) == len(seeds) else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and numpy arrays; no names of one's own."""
        return {
            **{name: value for name, value in vars(self).items() if name != "names"},
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "angle_curves": {name: asdict(curve) for name, curve in self.angle_curves.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "VariancePair":
        """Rebuild what ``to_dict`` gave.

        Raises:
            TypeError, KeyError, ValueError: The content is not that of a pair.
        """
        results = {name: VarianceResult.from_dict(result) for name, result in content["results"].items()}
        curves = {name: AngleCurve(**curve) for name, curve in content["angle_curves"].items()}
        return cls(**{**content, "results": results, "angle_curves": curves})


def _check_alike(results: dict[str, VarianceResult], fields: Sequence[str]) -> None:
    """Check that results have some fields in common.

    Raises:
        ValueError: They differ in one.
    """
    for attribute in fields:
        first, *others = (getattr(result, attribute) for result in results.values())
        if any(other != first for other in others):
            raise ValueError(f"its two results differ in their {attribute.replace('_', ' ')}")


def _kind(transformations: Sequence[str]) -> str:
    """Name transformations by what they call themselves.

    >>> _kind(["rotation by 0°", "rotation by 180°"]), _kind(["rotation by 0°, disc", "rotation by 180°, disc"])
    ('rotation', 'rotation-disc')
    >>> _kind(["rotation by 0°", "rotation by 0°, brightness times 0.25"])
    'transformation'
    """
    for name, form in (("rotation", r"rotation by [^,]+"), ("rotation-disc", r"rotation by [^,]+, disc")):
        if all(re.fullmatch(form, each) for each in transformations):
            return name
    return "transformation"
