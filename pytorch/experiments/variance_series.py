"""A measurement of both models of a pair while they were trained."""

from dataclasses import asdict, dataclass
from typing import Any

from pytorch.experiments.training import Epoch
from pytorch.experiments.variance_pair import VariancePair, check_alike
from pytorch.experiments.vocabulary import PAIR
from pytorch.files.checked_fields import check_fields
from pytorch.variance import VarianceResult


@dataclass(frozen=True, eq=False)
class VarianceSeries:
    """The measurements of both models before training, after kept epochs, and after the last.

    Attributes:
        pair: Measurement of the trained models, with its origin.
        earlier: Results of each model by epoch, without the last; 0: untrained.
        history: Records of the epochs of each model.
    """

    pair: VariancePair
    earlier: dict[str, dict[int, VarianceResult]]
    history: dict[str, list[Epoch]]

    def __post_init__(self) -> None:
        """Check types, and that the results are those of the epochs of the models of the pair.

        Raises:
            ValueError: A field has another type, or the parts do not fit together.
        """
        check_fields(self)
        if any(tuple(each) != PAIR for each in (self.pair.results, self.earlier, self.history)):
            raise ValueError("it is not of an unrotated and a rotated model")
        for model, earlier in self.earlier.items():
            epochs = list(earlier)
            if epochs != sorted(epochs) or not set(epochs) <= set(range(len(self.history[model]))):
                raise ValueError(f"its {model} model has other epochs than its history")
            check_alike([self.pair.any_result, *earlier.values()])

    def results(self, model: str) -> dict[int, VarianceResult]:
        """Return the results of a model by epoch, in order."""
        return {**self.earlier[model], len(self.history[model]): self.pair.results[model]}

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers and numpy arrays."""
        return {
            "pair": self.pair.to_dict(),
            "earlier": {
                model: {epoch: result.to_dict() for epoch, result in results.items()}
                for model, results in self.earlier.items()
            },
            "history": {model: [asdict(epoch) for epoch in epochs] for model, epochs in self.history.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "VarianceSeries":
        """Rebuild a series from the output of ``to_dict``.

        Raises:
            TypeError, KeyError, ValueError: The content does not describe a series.
        """
        earlier = {
            model: {epoch: VarianceResult.from_dict(result) for epoch, result in results.items()}
            for model, results in content["earlier"].items()
        }
        history = {model: [Epoch(**epoch) for epoch in epochs] for model, epochs in content["history"].items()}
        return cls(VariancePair.from_dict(content["pair"]), earlier, history)
