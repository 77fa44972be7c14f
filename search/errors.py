"""Errors that a user can mend; the command line prints each as one line."""


class ConfigError(ValueError):
    """A configuration that cannot run; the message names the value, the range and the remedy."""


class StudyError(RuntimeError):
    """A study that cannot be opened, continued or exported as it is."""
