"""What the API server did in a span of time, by its own request records."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_FIELDS = ("request_id", "name", "status", "cluster_name", "created_at", "finished_at")
_KINDS = {"sky.launch": "launch", "sky.exec": "exec", "sky.down": "down", "sky.logs": "logs"}


@dataclass(frozen=True)
class Request:
    """One request. `kind` is launch, exec, down, logs (the job's run, and the stream's own end), or short for all others."""

    kind: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def requests_between(endpoint: str, began: float, ended: float) -> list[Request]:
    query = urllib.parse.urlencode([("all_status", "true"), ("limit", "1000"), *(("fields", name) for name in _FIELDS)])
    headers = {"X-SkyPilot-API-Version": "62"}
    asked = urllib.request.Request(f"{endpoint}/api/status?{query}", headers=headers)  # noqa: S310  # http, as the local SkyPilot says
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=30) as answer:
        rows = json.loads(answer.read())
    return [
        Request(_KINDS.get(row["name"], "short"), row["created_at"], row["finished_at"])
        for row in rows
        if row["finished_at"] and began <= row["created_at"] and row["finished_at"] <= ended
    ]


def seconds_by_kind(requests: Iterable[Request]) -> Counter[str]:
    seconds: Counter[str] = Counter()
    for request in requests:
        seconds[request.kind] += request.seconds  # type: ignore[assignment]  # seconds, not counts
    return seconds


def covered(requests: Iterable[Request]) -> float:
    """Seconds in which at least one of the requests was under way."""
    total, until = 0.0, 0.0
    for request in sorted(requests, key=lambda request: request.began):
        total += max(0.0, request.ended - max(request.began, until))
        until = max(until, request.ended)
    return total
