"""SkyPilot's errors become ours, told apart by the names in their class tree so that SkyPilot need not be imported.

The names are those of sky.exceptions, requests, aiohttp and urllib3 as SkyPilot 0.14 raises them.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from sky_orchestrate import errors

_UNREACHABLE = frozenset(
    {
        "ApiServerConnectionError",
        "ServerTemporarilyUnavailableError",
        "RequestException",
        "ClientConnectionError",
        "ClientPayloadError",
        "HTTPError",
        "ConnectionError",
        "TimeoutError",
        "IncompleteRead",
    }
)
_REFUSED = frozenset({"ApiServerAuthenticationError", "PermissionDeniedError", "NoWorkspaceAccessError"})
_INCOMPATIBLE = frozenset({"APIVersionMismatchError", "APINotSupportedError"})
_GONE = frozenset({"ClusterDoesNotExist", "ClusterNotUpError", "FetchClusterInfoError", "CachedClusterUnavailable"})
# Of a question that a machine on its way out leaves unanswered: `sky down` cancels all other requests on its cluster.
_GOING = frozenset({"CommandError", "RequestCancelled"})
_REJECTED = frozenset(
    {
        "ResourcesMismatchError",
        "InvalidClusterNameError",
        "UserRequestRejectedByPolicy",
        "NoCloudAccessError",
        "NotSupportedError",
        "InvalidSkyPilotConfigError",
        "StorageSpecError",
        "GitError",
        "ValueError",
    }
)
# Kubernetes' own words, wherever SkyPilot puts them.
_FORBIDDEN = re.compile(
    r"""User \\*"(?P<user>[^"\\]+)\\*" cannot (?P<verb>[a-z]+) resource \\*"(?P<what>[^"\\]+)\\*" """
    r"""in API group \\*"[^"\\]*\\*" (?P<where>in the namespace \\*"[^"\\]+\\*"|at the cluster scope)"""
)
_NO_IMAGE = re.compile(r"ErrImagePull|ErrImageNeverPull|ImagePullBackOff|InvalidImageName|[Ff]ailed to pull (?:and unpack )?image")
_IMAGE = re.compile(r"""image:? \\*["'](?P<name>[^"'\\\s]+)\\*["']""")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def translate(error: BaseException, doing: str, endpoint: str, *, on_cluster: bool = False) -> errors.SkyOrchestrateError:
    """`error`, raised by SkyPilot's SDK while `doing` something at `endpoint`, as one of ours with one clear line.

    `on_cluster`: a question that the server takes to the cluster itself, whose machine may be going away meanwhile.
    """
    if isinstance(error, errors.SkyOrchestrateError):
        return error
    names = {kind.__name__ for kind in type(error).__mro__}
    said = one_line(str(error)) or type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status", None)
    if names & _REFUSED or status in (401, 403):
        return errors.EndpointRefused(
            f"{doing}: SkyPilot at {endpoint} refused the credentials ({said}); check SKYPILOT_SERVICE_ACCOUNT_TOKEN"
        )
    if names & _INCOMPATIBLE:
        return errors.EndpointIncompatible(f"{doing}: SkyPilot at {endpoint} and this client do not fit together: {said}")
    if names & _GONE or (on_cluster and names & _GOING):
        return errors.ClusterGone(f"{doing}: {said}")
    cause = refused_by_kubernetes(str(error), doing)
    if cause is not None:
        return cause
    if "ResourcesUnavailableError" in names:
        return errors.SkyNoCapacity(f"{doing}: no resources available: {said}")
    if "RequestInterruptedError" in names or re.search(r"Failed to get request .*404", said):
        return errors.RequestLost(f"{doing}: the server no longer knows the request: {said}")
    if "ConcurrentWorkerExhaustedError" in names:
        return errors.StreamRefused(f"{doing}: {said}")
    # SkyPilot says so with a bare RuntimeError where its own local server may not be started.
    if names & _UNREACHABLE or "No SkyPilot API server endpoint" in said:
        return errors.EndpointUnreachable(
            f"{doing}: SkyPilot's API server at {endpoint} does not answer; is it running, and is SKYPILOT_API_SERVER_ENDPOINT right?"
        )
    if "RequestCancelled" in names:
        return errors.LaunchError(f"{doing}: the request was cancelled on the server")
    if names & _REJECTED:
        return errors.LaunchRejected(f"{doing}: {said}")
    return errors.LaunchError(f"{doing}: {type(error).__name__}: {said}")


def refused_by_kubernetes(text: str, doing: str) -> errors.LaunchError | None:
    """What waiting for capacity does not mend, though SkyPilot calls it a lack of it."""
    flat = one_line(text, limit=100_000)
    forbidden = _FORBIDDEN.search(flat)
    if forbidden is not None:
        who, verb, what, where = forbidden.group("user", "verb", "what", "where")
        right = f"{verb} {what} {where}".replace("\\", "")
        return errors.SkyForbidden(f"{doing}: SkyPilot's account {who} may not {right}; give its role that verb")
    no_image = _NO_IMAGE.search(flat)
    if no_image is not None:
        image = _IMAGE.search(flat)
        name = f"the image {image['name']}" if image else "the image"
        said = one_line(flat[no_image.start() :], limit=200)
        cure = "is its name right, and may the nodes read its registry?"
        return errors.SkyImageUnavailable(f"{doing}: {name} cannot be pulled; {cure} ({said})")
    return None


@contextmanager
def translated(doing: str, endpoint: str, *, on_cluster: bool = False) -> Generator[None, None, None]:
    """Let only our errors out. Cancellation passes as it is."""
    try:
        yield
    except errors.SkyOrchestrateError:
        raise
    except Exception as error:
        raise translate(error, doing, endpoint, on_cluster=on_cluster) from error


def one_line(text: str, limit: int = 600) -> str:
    """`text` without terminal colours and line breaks, cut at `limit` characters."""
    flat = " ".join(_ANSI.sub("", text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
