"""The exceptions that a user's input or machine can cause; the scripts report them in one line."""


class ReportedError(Exception):
    """Something went wrong that a person can mend; the message says what, and what to do, in one line."""


class InputError(ReportedError, ValueError):
    """Something the user gave cannot be used."""


class TrainingError(ReportedError, RuntimeError):
    """A training run came to nothing."""


class FileError(ReportedError, RuntimeError):
    """A file of the results folder is missing, damaged, or not what it should be."""
