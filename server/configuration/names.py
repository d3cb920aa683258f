"""Names of settings and of the other variables of this project, and the nearest to a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from adapters_store.audit import AUDIT_VARIABLE
from ssvd_asr.cache_root import CACHE_VARIABLE
from ssvd_asr.errors import SsvdError

PREFIX = "SSVD_"
# Variables that are no settings of the server. A test holds the list against the source.
OTHER_VARIABLES = (
    AUDIT_VARIABLE,  # the log of changes
    CACHE_VARIABLE,  # the caches of factors and of adapters
    "SSVD_KEY",  # the key of a command that calls a server
    "SSVD_LOAD_PLAN",  # benchmarks/load.py tells it to its users
    "SSVD_BENCHMARK_TURN",  # benchmarks/suite.py numbers its runs
    "SSVD_WHISPER_BASE",  # a Whisper that tests may use
)
# What Kubernetes sets in every container for a service called ssvd or ssvd-..., and Docker for a link.
_SERVICE_NAME = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


def variable_of(setting: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + setting.upper()


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the known name that is most like this one, or where all are listed."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else "; docs/serving.md lists them"


def check_variables(environment: Mapping[str, str], settings: Iterable[str]) -> None:
    """Raise SsvdError for a variable that begins with SSVD_ and sets nothing.

    Args:
        environment: variables and their values; names of settings count in any case, as when they are read.
        settings: names of settings.
    """
    known = {*map(variable_of, settings), *OTHER_VARIABLES}
    for variable, value in environment.items():
        name = variable.upper()
        if not name.startswith(PREFIX):
            continue
        if _SERVICE_NAME.fullmatch(name) or _SERVICE_ADDRESS.fullmatch(value):
            raise SsvdError(
                f"{variable}={value!r} is no setting: Kubernetes or a Docker link sets it for a service "
                "called ssvd. Set enableServiceLinks: false in the pod's spec, or name the service otherwise"
            )
        if name not in known:
            raise SsvdError(f"{variable} is not a setting{nearest(name, known)}")
