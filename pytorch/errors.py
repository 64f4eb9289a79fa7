"""The exceptions that a user's input or machine can cause; the scripts report them in one line."""

LONGEST_LINE = 2000


def one_line(text: object, longest: int = LONGEST_LINE) -> str:
    r"""Write a text so that it is one line on a terminal and nothing else, whatever names from files are in it.

    >>> one_line("a\nb\x1b[2J, 4 × 4")
    'a\\nb\\x1b[2J, 4 × 4'
    """
    line = str(text)
    line = line if len(line) <= longest else f"{line[:longest]} ..."
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


class ReportedError(Exception):
    """Something went wrong that a person can mend; the message says what, and what to do, in one line."""


class InputError(ReportedError, ValueError):
    """Something the user gave cannot be used."""


class TrainingError(ReportedError, RuntimeError):
    """A training run came to nothing."""


class FileError(ReportedError, RuntimeError):
    """A file of the results folder is missing, damaged, or not what it should be."""
