"""Is this the same experiment? One answer for trainings and measurements."""

from collections.abc import Collection
from dataclasses import dataclass

Setting = str | int | float | bool | None | list[str] | dict[str, str]
"""A value that a training or a measurement depends on."""


@dataclass(frozen=True)
class Protocol:
    """Everything that the numbers of one experiment depend on.

    ``TrainedModel.protocol`` and ``VariancePair.protocol`` list the settings of each kind of experiment. Callers name
    the settings that their question ignores, such as the seed where repetitions are sought.

    Attributes:
        settings: Values by the name that messages use: ``"seed"``, ``"batch size"``.
    """

    settings: dict[str, Setting]

    def __or__(self, settings: dict[str, Setting]) -> "Protocol":
        return Protocol({**self.settings, **settings})

    def differences(
        self, asked: "Protocol", *, only: Collection[str] | None = None, ignore: Collection[str] = ()
    ) -> str:
        """Say how this experiment differs from the one asked for.

        Args:
            asked: Settings that it does not name may have any value.
            only: Names of the settings to compare; None: all of ``asked``.
            ignore: Names of settings to leave out.

        Returns:
            The settings that differ, each with both values; empty if there are none.

        >>> found, asked = Protocol({"seed": 0, "batch size": 8}), Protocol({"seed": 1, "batch size": 64})
        >>> found.differences(asked)
        'seed 0, not 1; batch size 8, not 64'
        >>> found.differences(asked, ignore=["seed", "batch size"])
        ''
        """
        found, wanted = self.settings, asked.settings
        names = [name for name in (wanted if only is None else only) if name not in ignore]
        return "; ".join(
            f"{name} {found.get(name)}, not {wanted.get(name)}" for name in names if found.get(name) != wanted.get(name)
        )
