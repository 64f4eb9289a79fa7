"""The networks of a training: before it, after the epochs whose weights were kept, and after the last."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from pytorch.errors import FileError
from pytorch.experiments.storage import epoch_file, load_checkpoint, load_model
from pytorch.experiments.trained_model import TrainedModel


class KeptEpochs(Mapping[int, nn.Module]):
    """Networks in evaluation mode by epoch: 0 untrained, those of ``--keep-epochs``, and the last.

    The weights of an epoch are read each time that its network is asked for.

    Attributes:
        trained: The trained model, with the history of the epochs.

    Args:
        model: Path of the trained model, as ``models/simple_conv_digits/rotated.pt`` in the folder of results.

    Raises:
        FileError: It is no trained model, or is damaged.
        FileNotFoundError: There is no file.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self.trained: TrainedModel = load_model(model)
        last = self.trained.epochs
        self._epochs = [0, *(epoch for epoch in range(1, last) if epoch_file(model, epoch).exists()), last]

    def __iter__(self) -> Iterator[int]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __getitem__(self, epoch: int) -> nn.Module:
        """Build the network after an epoch, on the CPU.

        Raises:
            FileError: The file of the epoch is damaged, or is of another training.
            KeyError: The epoch was not kept.
        """
        if epoch not in self._epochs:
            raise KeyError(epoch)
        if epoch in (0, self.trained.epochs):
            return self.trained.network(trained=epoch > 0)
        path = epoch_file(self._model, epoch)
        _, state = load_checkpoint(path)
        history = [asdict(each) for each in self.trained.history[:epoch]]
        try:
            if state["history"] != history:  # no two trainings take equally long
                raise ValueError("it is of another training")
            return replace(self.trained, weights=state["weights"]).network()
        except (KeyError, ValueError) as error:
            raise FileError(f"{path} cannot be read as epoch {epoch} of {self._model} ({error}): remove it, or train "
                            "again with --overwrite --keep-epochs") from error  # fmt: skip
