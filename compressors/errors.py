"""The errors of this project; a caller that catches `ParedownError` catches them all."""


class ParedownError(Exception):
    """The base of every error that this project raises on purpose."""


class InfeasibleError(ParedownError, ValueError):
    """Raised by a compressor that is asked to act and finds nothing to act on."""


class UnmatchedPatternError(InfeasibleError):
    """A pattern of `layers` that matches no layer of the model; the message lists what there is."""


class UnfitModelError(ParedownError, ValueError):
    """A model that no study can be made of; the message names the cause and the remedy."""
