"""Finding what a user means by a name."""

from collections.abc import Iterable
from difflib import get_close_matches

from pytorch.errors import InputError


def match_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` stands for, or None; letter case, ``-`` and ``_`` do not matter.

    >>> match_name("AllConvolutional", ["all_convolutional", "resnet"])
    'all_convolutional'
    """
    return {_key(candidate): candidate for candidate in known}.get(_key(name))


def find_name(name: str, known: Iterable[str], kind: str) -> str:
    """Return the known name that ``name`` stands for, as ``match_name``.

    Raises:
        InputError: None of them; the message lists them, the nearest first.

    >>> find_name("resnt", ["all_convolutional", "resnet"], "model")
    Traceback (most recent call last):
    pytorch.errors.InputError: unknown model 'resnt': did you mean resnet? There are all_convolutional, resnet
    """
    known = list(known)
    match = match_name(name, known)
    if match is not None:
        return match
    nearest = get_close_matches(_key(name), map(_key, known), n=1)
    hint = f"did you mean {match_name(nearest[0], known)}? " if nearest else ""
    raise InputError(f"unknown {kind} {name!r}: {hint}There are {', '.join(known)}")


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
