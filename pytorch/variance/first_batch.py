"""Checks on the first batch: find the layers, verify that images do not affect each other, and bound the rounding.

The network is called with two images, and then with the whole batch. A layer whose first axis does not grow with it is
no layer of samples. In the whole batch, the activations of the two images must be the same to rounding. Noise, batch
statistics, and state between calls show as differences.

Rounding. The two images are also run with each value x replaced by x·(1 - ε·u), with u uniform in [0, 1) and ε the
distance from 1 to the next larger number of the type that the network computes in. Each value y that a module returns
is then replaced by y·(1 + ε·(u - 1/2)), as if it had been rounded otherwise. The largest change of a unit is a sample
of what rounding does to it (Monte Carlo arithmetic; Parker 1997, UCLA CSD-970002). Its bound is ``ROUNDING`` times
that, or the last digit of the unit if that is more. A dispersion below the bound may come from rounding alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytorch.errors import InputError, ReportedError, one_line
from pytorch.variance.recording.layers import Layer, unreadable
from pytorch.variance.recording.recorder import ActivationRecorder

FLOATING = torch.float64, torch.float32, torch.float16, torch.bfloat16
"""Types in which networks compute; others only store weights."""

INTEGER_STEP = 2**-7
"""Relative step of 8-bit integers: quantized modules have 255 steps for values of both signs."""

ROUNDING = 4
"""Safety factor: the dispersion of many values can exceed the larger of two differences, but seldom by this factor."""

SUMS = "mean", "sum"
"""Aggregations that add up the values of a map."""

MARGIN, FLOOR, COARSEST = 8, 256, 2**-6
"""Allowed difference of an image in a larger batch, for which libraries may choose another algorithm: ``MARGIN`` times
the effect of rounding on its layer, plus ``FLOOR`` ε (at most ``COARSEST``) times the largest activation there."""


class CheckedRecorder:
    """Runs a recorder on batches that other code shares, and checks the network on the first one.

    Args:
        recorder: Recorder that has not been called yet.
        check: Whether to refuse a network whose activations for an image depend on anything else.
    """

    def __init__(self, recorder: ActivationRecorder, *, check: bool = True) -> None:
        self._recorder = recorder
        self._check = check

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the activations of a batch, as the recorder does.

        Raises:
            InputError: The recorder raises it; or, on the first batch, the network changes its parameters, fails on
                the whole batch, or gives an image different activations in two calls.
        """
        recorder = self._recorder
        if recorder.layers:
            return recorder(recorder.own_copy(inputs))
        return self._first(inputs)

    def _first(self, inputs: Tensor) -> Tensor:
        recorder = self._recorder
        before = [(name, values, values.detach().clone()) for name, values in parameters(recorder.modules)]
        some, found = self._find(inputs)
        few, layers, owner = inputs[some], recorder.layers, self._owner()
        epsilon = epsilon_of(recorder.modules)
        with rounded_otherwise(recorder.modules):
            moved = recorder(perturbed(recorder.own_copy(few), epsilon)).clone()
        self._check_parameters(before)
        del before
        rounding = (moved - found).abs().nan_to_num(0, 0, 0).amax(dim=0).double()
        of_layer = rounding.new_zeros(len(layers)).scatter_reduce(0, owner, rounding, "amax")
        least = min(FLOOR * epsilon, COARSEST) * recorder.magnitudes()

        def kept() -> Tensor:
            """Mask of the units whose layers are still recorded, (U,) bool."""
            names = {layer.name for layer in recorder.layers}
            return torch.tensor([layer.name in names for layer in layers], device=owner.device)[owner]

        def compare(rows: Tensor, allowed: Tensor) -> None:
            self._compare(rows, found[:, kept()], allowed[owner][kept()], few)

        if self._check and (of_layer > least).any():  # above rounding in most networks: noise or state?
            compare(self._rows(recorder, few), least)
        allowed = least + MARGIN * of_layer
        if len(few) == len(inputs):
            compare(self._beside(few), allowed)
        whole = self._whole(inputs, len(few))
        compare(whole[some], allowed)
        own = self._last_digits(layers, epsilon)[owner] * found.abs().nan_to_num(0, 0, 0).amax(dim=0)
        recorder.rounding = torch.maximum(ROUNDING * rounding, own)[kept()]
        return whole

    def _last_digits(self, layers: list[Layer], epsilon: float) -> Tensor:
        """Relative size of the last digit of the units of each layer, (L,): sums have more digits than the network."""
        row = self._recorder.row
        digits = [torch.finfo(row.dtype).eps if layer.aggregation in SUMS else epsilon for layer in layers]
        return torch.tensor(digits, dtype=torch.float64, device=row.device)

    def _owner(self) -> Tensor:
        """Index of the layer of each unit, (U,)."""
        sizes = torch.tensor([layer.units for layer in self._recorder.layers])
        return torch.arange(len(sizes)).repeat_interleave(sizes).to(self._recorder.row.device)

    def _check_parameters(self, before: list[tuple[str, Tensor, Tensor]]) -> None:
        """Refuse a network that has changed its parameters, after restoring them."""
        changed = [each for each in before if not torch.equal(each[1], each[2])]
        for _, values, old in changed:
            values.data.copy_(old)
        if changed:
            raise InputError(f"the forward pass changes the parameter {changed[0][0]}: a network can be measured "
                             "only if it leaves its parameters alone")  # fmt: skip

    def _find(self, inputs: Tensor) -> tuple[list[int], Tensor]:
        """Find the layers with a few images, or with all if the network refuses small batches."""
        some = [1, 0][-len(inputs) :]
        try:
            return some, self._rows(self._recorder, inputs[some])
        except Exception as error:
            if isinstance(error, ReportedError) or len(some) == len(inputs):
                raise
        self._recorder.forget()
        return list(range(len(inputs))), self._rows(self._recorder, inputs)

    def _beside(self, few: Tensor) -> Tensor:
        """Run images in reverse order and, where the network accepts any batch size, with one more."""
        turned = few.flip(0)
        try:
            rows = self._rows(self._recorder.confirm, torch.cat([turned, few[:1]]))
        except ReportedError:
            raise
        except Exception:
            rows = self._rows(self._recorder.confirm, turned)
        return rows[: len(few)].flip(0)

    def _whole(self, inputs: Tensor, before: int) -> Tensor:
        try:
            return self._recorder.confirm(self._recorder.own_copy(inputs))
        except ReportedError:
            raise
        except Exception as error:
            raise InputError(
                f"the network ran on {before} images and failed on {len(inputs)} ({one_line(error, longest=300)}): "
                "if it keeps state between calls, pass reset=; if its batch size is fixed, set batch_size to it"
            ) from error

    def _rows(self, call: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        return call(self._recorder.own_copy(inputs)).clone()

    def _compare(self, whole: Tensor, alone: Tensor, allowed: Tensor, few: Tensor) -> None:
        """Compare the activations of the same images in two calls, both (b, U), if the caller wants it."""
        if not self._check:
            return
        apart = (whole - alone).abs()
        differ = ~((apart <= allowed) | (whole == alone) | (whole.isnan() & alone.isnan())).all(dim=0)
        if differ.any():
            owner = self._owner()
            first = int(owner[differ][0])
            raise InputError(
                f"layer {self._recorder.layers[first].name}: the activations of an image differ by up to "
                f"{apart[:, owner == first].max().item():.2g} between two forward passes of the network; "
                f"{self._reason(few)}; check=False skips this check"
            )

    def _reason(self, few: Tensor) -> str:
        """Explain why the activations of an image differ, from a few more passes."""

        def rows(seed: int) -> Tensor:
            torch.manual_seed(seed)
            return self._recorder(self._recorder.own_copy(few)).clone()

        with torch.random.fork_rng(devices=[few.device] if few.is_cuda else []):
            first, again, other = rows(0), rows(0), rows(1)
        if not torch.equal(first, again):
            return "it keeps state between calls: pass reset=, a function called before each forward pass"
        if not torch.equal(first, other):
            return "it draws random numbers: switch off dropout, masking and sampling"
        return "an image depends on the rest of the batch (batch statistics?): use running statistics or batch_size=1"


def parameters(modules: Mapping[nn.Module, str]) -> Iterator[tuple[str, Tensor]]:
    """Parameters of some modules, by name, except uninitialized (lazy) ones."""
    for module, name in modules.items():
        for own, values in module.named_parameters(name, recurse=False):
            if not is_lazy(values):
                yield own, values


def epsilon_of(modules: Mapping[nn.Module, str]) -> float:
    """Machine epsilon of the coarsest type in which some modules compute: the distance from 1 to the next number."""
    if any("quantized" in type(module).__module__ for module in modules):
        return INTEGER_STEP
    weights = [values for _, values in parameters(modules)]
    device = weights[0].device.type if weights else "cpu"
    if torch.is_autocast_enabled(device):
        return torch.finfo(torch.get_autocast_dtype(device)).eps
    kinds = {values.dtype for values in weights} & {*FLOATING} or {torch.float32}
    return max(torch.finfo(kind).eps for kind in kinds)


def perturbed(inputs: Tensor, epsilon: float) -> Tensor:
    """Change each value by at most its last digit, towards 0; integers stay unchanged.

    >>> values = perturbed(torch.tensor([0.0, 1.0, 3.0]), 2.0**-3)
    >>> values[0].item(), 0.875 <= values[1] <= 1, 2.625 <= values[2] <= 3
    (0.0, tensor(True), tensor(True))
    """
    if not inputs.is_floating_point():
        return inputs
    generator = torch.Generator(inputs.device).manual_seed(0)
    shares = torch.rand(inputs.shape, generator=generator, device=inputs.device)
    return (inputs.double() * (1 - epsilon * shares.double())).to(inputs.dtype)


@contextmanager
def rounded_otherwise(modules: Iterable[nn.Module]) -> Iterator[None]:
    """A context in which the last digit of what modules return is random.

    Tensors of whole numbers, such as masks, spikes and indices, stay unchanged, as do outputs of TorchScript.
    """
    generator = torch.Generator().manual_seed(0)
    shares = torch.zeros(0)

    def move(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        nonlocal shares
        if type(output) is not Tensor or output.is_quantized or unreadable(output):
            return None
        with torch._C.DisableTorchFunction():  # these operations are not the model's
            if torch.equal(output, output.round()):
                return None
            if len(shares) < output.numel() or shares.device != output.device:
                shares = torch.rand(output.numel(), generator=generator).to(output.device) - 0.5
            step = torch.finfo(output.dtype).eps * shares[: output.numel()].view(output.shape)
            return torch.addcmul(output, output.nan_to_num(0, 0, 0), step.to(output.dtype))

    with ExitStack() as stack:
        for module in modules:
            if not isinstance(module, torch.jit.ScriptModule):
                stack.callback(module.register_forward_hook(move, prepend=True).remove)
        yield
