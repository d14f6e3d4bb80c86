"""Names that a retry, a resumed worker or a double delivery finds again.

Cluster and job names are a function of the run key alone. Clouds fold case and punctuation and cut long names (GCP at 35
characters), so what is made here is lower case, hyphenated and at most 34 characters, and its own hash tells runs apart.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_PREFIX, _TASK, _HASH = 12, 10, 10


@dataclass(frozen=True)
class RunKey:
    """Who started a step: the deployment, the orchestrator's run, and the step within it.

    `owner` tells projects on one SkyPilot server apart, `run` is the orchestrator's id of the run (what its reaper asks
    about), `step` anything that names the step within the run and is the same at each attempt.
    """

    owner: str
    run: str
    step: str

    @property
    def digest(self) -> str:
        return digest(self.owner, self.run, self.step)


def digest(*parts: str) -> str:
    """Ten hexadecimal characters (40 bits) that stand for the parts, in order."""
    joined = "\0".join(parts).encode()
    return hashlib.sha256(joined).hexdigest()[:_HASH]


def cluster_name(prefix: str, task: str, key: RunKey) -> str:
    """The name of the step's cluster, and of its job: `prefix[:12]-task[:10]-hash`."""
    return f"{_slug(prefix, _PREFIX, 'sky')}-{_slug(task, _TASK, 'task')}-{key.digest}"


def shared_cluster(prefix: str, cluster: str, *, owner: str, run: str) -> str:
    """SkyPilot's name of the cluster that the steps of a run call `cluster`."""
    return cluster_name(prefix, cluster, RunKey(owner, run, f"cluster/{cluster}"))


def label(text: str) -> str:
    """`text` as a label value that every cloud and Kubernetes accept: at most 63 of a-z, 0-9, `_`, `-`.

    What had to be changed gets a hash, so that two ids never become one label.
    """
    safe = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    if safe == text and 0 < len(text) <= 63:
        return text
    return f"{safe[:52].strip('-_') or 'x'}-{digest(text)}"


def _slug(text: str, length: int, default: str) -> str:
    safe = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not safe or not safe[0].isalpha():
        safe = f"{default}-{safe}".strip("-")
    return safe[:length].strip("-")
