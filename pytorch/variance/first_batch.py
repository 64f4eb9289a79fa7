"""What a few images of the first batch show: the layers, whether each image is measured by itself, and the rounding.

The network is called with a few images, and with others of them in another order and number. A layer whose first axis
does not have as many rows is no layer of samples. The activations of an image must be those that the whole batch gives,
to rounding; noise, statistics of the batch and state between calls show as differences.

Rounding. The few images are run once more with each value x replaced by x·(1 - ε·u), with u uniform in [0, 1) and ε the
distance from 1 to the next larger number of the type that the network computes in. No network can tell x from that, but
every rounding in it falls out anew. By how much a unit moves at most, |a(x·(1 - ε·u)) - a(x)|, is a sample of what
rounding does to it (Monte Carlo arithmetic; Parker 1997, UCLA CSD-970002). ``ROUNDING`` times that is its bound: a
dispersion below it may be of rounding alone. A unit that did not move, has the bound 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pytorch.errors import InputError, ReportedError, one_line
from pytorch.variance.activations import ActivationRecorder

FEW = 4
"""Images that are run again."""

ROUNDING = 8
"""A dispersion over many values may be larger than the largest of ``FEW`` differences; so many times it will not be."""

MARGIN, FLOOR, COARSEST = 8, 256, 2**-6
"""How much an image may differ beside others, which may be computed by another algorithm: so many times what rounding
did to its layer, and so many ε of the largest activation there, of which at most that share."""


class FirstBatch:
    """Finds out what there is to know of a network before it is measured.

    Args:
        recorder: That has not been called yet.
        check: Whether to refuse a network that is no function of each image alone.
    """

    def __init__(self, recorder: ActivationRecorder, *, check: bool = True) -> None:
        self._recorder = recorder
        self._check = check

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the activations of the first batch, as the recorder does.

        Raises:
            InputError: As the recorder does. The network changes its parameters, fails beside other images, or gives an
                image other activations than before.
        """
        recorder = self._recorder
        before = [(name, values, values.detach().clone()) for name, values in recorder.parameters()]
        some, found = self._find(inputs)
        again = self._rows(recorder, inputs[some])  # at once: a state may be forgotten when other images come
        first = recorder.layers
        others, confirmed = self._confirm(inputs, some)
        kept = {layer.name for layer in recorder.layers}
        columns = torch.cat([torch.full((layer.units,), layer.name in kept) for layer in first]).to(found.device)
        found, again = found[:, columns], again[:, columns]
        epsilon = recorder.epsilon
        moved = recorder(perturbed(recorder.own_copy(inputs[some]), epsilon)).clone()
        self._check_parameters(before)
        del before
        rounding = (moved - found).abs().nan_to_num(0, 0, 0).amax(dim=0).double()
        recorder.rounding = ROUNDING * rounding
        allowed = min(FLOOR * epsilon, COARSEST) * recorder.magnitudes()
        if self._check:
            self._compare(again, found, allowed, inputs[some])
        try:
            whole = recorder(recorder.own_copy(inputs))
        except ReportedError:
            raise
        except Exception as error:
            raise InputError(
                f"the network ran on {len(some)} images and then not on {len(inputs)} "
                f"({one_line(error, longest=300)}): if it keeps state between calls, give reset=; if it takes batches "
                "of one size, give that batch_size"
            ) from error
        if self._check:
            owner = self._owner()
            of_layer = rounding.new_zeros(len(recorder.layers)).scatter_reduce(0, owner, rounding, "amax")
            allowed = allowed + MARGIN * of_layer[owner]
            seen, before = torch.cat([whole[some], whole[others]]), torch.cat([found, confirmed])
            self._compare(seen, before, allowed, inputs[some])
        return whole

    def _owner(self) -> Tensor:
        """(U,), the layer of each unit."""
        sizes = torch.tensor([layer.units for layer in self._recorder.layers])
        return torch.arange(len(sizes)).repeat_interleave(sizes).to(self._recorder.row.device)

    def _check_parameters(self, before: list[tuple[str, Tensor, Tensor]]) -> None:
        """Refuse a network that has changed parameters, and put them back."""
        changed = [each for each in before if not torch.equal(each[1], each[2])]
        for _, values, old in changed:
            values.data.copy_(old)
        if changed:
            raise InputError(f"the forward pass changes the parameter {changed[0][0]}: only a network that stays as it "
                             "is can be measured")  # fmt: skip

    def _find(self, inputs: Tensor) -> tuple[list[int], Tensor]:
        """Find the layers by a few images; by all where the network takes no few."""
        some = list(range(min(FEW, len(inputs))))
        try:
            return some, self._rows(self._recorder, inputs[some])
        except ReportedError:
            raise
        except Exception:
            if len(some) == len(inputs):
                raise
        self._recorder.forget()
        return list(range(len(inputs))), self._rows(self._recorder, inputs)

    def _confirm(self, inputs: Tensor, some: list[int]) -> tuple[list[int], Tensor]:
        """Run images in another order and, where the network takes any, in another number."""
        count = len(inputs)
        if len(some) == count > FEW:
            others = some[::-1]
        else:
            others = [count - 1, *range(FEW - 2, -1, -2)] if count > FEW else [*some[::-1], 0]
        try:
            return others, self._rows(self._recorder.confirm, inputs[others])
        except ReportedError:
            raise
        except Exception:
            if len(others) == count:
                raise
        return some[::-1], self._rows(self._recorder.confirm, inputs[some[::-1]])

    def _rows(self, call: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        return call(self._recorder.own_copy(inputs)).clone()

    def _compare(self, whole: Tensor, alone: Tensor, allowed: Tensor, few: Tensor) -> None:
        """Compare the activations of images with those of the same images in another call, both (b, U)."""
        apart = (whole - alone).abs()
        differ = ~((apart <= allowed) | (whole == alone) | (whole.isnan() & alone.isnan())).all(dim=0)
        if differ.any():
            owner = self._owner()
            first = int(owner[differ][0])
            raise InputError(
                f"layer {self._recorder.layers[first].name}: the activations of an image differ by up to "
                f"{apart[:, owner == first].max().item():.2g} between two forward passes of the network; "
                f"{self._reason(few)}; check=False measures it all the same"
            )

    def _reason(self, few: Tensor) -> str:
        """Say why the activations of an image differ, by running some images again."""

        def rows(seed: int) -> Tensor:
            torch.manual_seed(seed)
            return self._recorder(self._recorder.own_copy(few)).clone()

        with torch.random.fork_rng(devices=[few.device] if few.is_cuda else []):
            first, again, other = rows(0), rows(0), rows(1)
        if not torch.equal(first, again):
            return "it keeps state between calls: give reset=, a function that is called before each of them"
        if not torch.equal(first, other):
            return "it draws random numbers: turn dropout, masking and sampling off"
        return "an image depends on those beside it (statistics of the batch?): use running ones, or batch_size=1"


def perturbed(inputs: Tensor, epsilon: float) -> Tensor:
    """Change each value in its last digit at most, towards 0; integers stay as they are.

    >>> values = perturbed(torch.tensor([0.0, 1.0, 3.0]), 2.0**-3)
    >>> values[0].item(), 0.875 <= values[1] <= 1, 2.625 <= values[2] <= 3
    (0.0, tensor(True), tensor(True))
    """
    if not inputs.is_floating_point():
        return inputs
    generator = torch.Generator(inputs.device).manual_seed(0)
    shares = torch.rand(inputs.shape, generator=generator, device=inputs.device)
    return (inputs.double() * (1 - epsilon * shares.double())).to(inputs.dtype)
