"""The one call that holds a compressor class to the laws."""

from collections.abc import Collection, Mapping
from typing import Any

from compressors.errors import InfeasibleError
from compressors.testing.case import Case, CompressorClass
from compressors.testing.class_laws import CLASS_LAWS, complaint_about
from compressors.testing.network_laws import NETWORK_LAWS
from compressors.testing.networks import NETWORKS, Network

LAWS = (*CLASS_LAWS, *NETWORK_LAWS)
"""Names of all laws: those of a class alone, then those that hold on every network."""

WORKS_OR_SAYS_WHY = "works_or_says_why"
"""Name of the law that a network is compressed, or refused with a reason if it is listed so."""

_latest: list[Case] = []


class BrokenLawError(AssertionError):
    """Raised for a compressor that breaks a law; the message names law, compressor and network."""


def check_compressor(
    compressor_class: CompressorClass,
    values: Mapping[str, Any],
    *,
    networks: Mapping[str, Network] = NETWORKS,
    laws: Collection[str] = LAWS,
    infeasible: Collection[str] = (),
) -> None:
    """Hold a compressor class to the laws of all compressors.

    Args:
        compressor_class: The class; it is called with the values of its fields.
        values: Values of some fields with which the compressor acts.
        networks: The networks to try it on, by name.
        laws: The names of the laws to check, of `LAWS`.
        infeasible: Names of networks on which the method finds nothing to act on; there it must
            raise `InfeasibleError` with a reason. On all others it must work.

    Raises:
        BrokenLawError: the first law that does not hold.
        ValueError: a law that does not exist.
    """
    if unknown := set(laws) - set(LAWS):
        raise ValueError(f"laws must be of {', '.join(LAWS)}, got {', '.join(sorted(unknown))}")
    title = _title(compressor_class, values)
    for law in CLASS_LAWS:
        if law in laws:
            _raise_if(CLASS_LAWS[law](compressor_class, values), law, title)
    chosen = [law for law in NETWORK_LAWS if law in laws]
    for name, network in networks.items():
        case = _case(Case(compressor_class=compressor_class, values=values, network=network))
        _check_case(case, chosen, f"{title} on {name}", feasible=name not in infeasible)


def _check_case(case: Case, laws: Collection[str], title: str, *, feasible: bool) -> None:
    if not laws:
        return
    try:
        _ = case.result
    except InfeasibleError as error:
        reason = f"it raises {error}" if feasible else complaint_about(error)
        _raise_if(reason, WORKS_OR_SAYS_WHY, title)
        laws = [law for law in laws if law == "does_nothing_by_default"]
    else:
        _raise_if(None if feasible else "it works", WORKS_OR_SAYS_WHY, title)
    for law in laws:
        _raise_if(NETWORK_LAWS[law](case), law, title)


def _case(case: Case) -> Case:
    """Return the latest case if it equals this one: laws checked in turn compress only once."""
    if _latest != [case]:
        _latest[:] = [case]
    return _latest[0]


def _title(compressor_class: CompressorClass, values: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"{compressor_class.__name__}({given})"


def _raise_if(complaint: str | None, law: str, title: str) -> None:
    if complaint is not None:
        raise BrokenLawError(f"{law}: {title}: {complaint}")
