"""Exceptions caused by a user's input or machine; the scripts report them in one line."""

LONGEST_LINE = 2000


def one_line(text: object, longest: int = LONGEST_LINE) -> str:
    r"""Escape a text so that a terminal shows one plain line, even if it contains names from files.

    >>> one_line("a\nb\x1b[2J, 4 × 4")
    'a\\nb\\x1b[2J, 4 × 4'
    """
    line = str(text)
    line = line if len(line) <= longest else f"{line[:longest]} ..."
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


class ReportedError(Exception):
    """An error that a user can fix; the message says in one line what is wrong and what to do."""


class InputError(ReportedError, ValueError):
    """The user's input cannot be used."""


class RankError(ReportedError, RuntimeError):
    """Another process of the same run has stopped."""


class TrainingError(ReportedError, RuntimeError):
    """A training run failed."""


class FileError(ReportedError, RuntimeError):
    """A file of the results folder is missing, damaged or unexpected."""
