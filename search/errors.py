"""The errors that a user can mend; the command line prints each as one line."""

from compressors.errors import ParedownError


class ConfigError(ParedownError, ValueError):
    """A configuration that cannot run; the message names the value, the range and the remedy."""


class SelectionError(ConfigError):
    """A selection expression that cannot be read, or that no trial answers."""


class StudyError(ParedownError, RuntimeError):
    """A study that cannot be opened, continued or exported as it is."""


class ArtefactError(ParedownError, RuntimeError):
    """A model that cannot be written as an artefact that computes the same."""


class MeasurementError(ParedownError, RuntimeError):
    """A metric that is missing or not finite."""


class TrackingError(StudyError):
    """A tracker that cannot be reached or used."""
