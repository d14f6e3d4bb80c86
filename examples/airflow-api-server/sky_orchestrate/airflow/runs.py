"""A DAG run, as clusters are named after it and as their labels lead back to it."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sky_orchestrate import naming
from sky_orchestrate.naming import RunKey

# A label's value is at most 63 of a-z and 0-9 everywhere, and ids of runs hold colons, plus signs and capitals.
_LABEL, _LENGTH = "airflow-run", 63


def step(task_id: str, map_index: int | None) -> str:
    """A task within its run, the same at each try."""
    return f"{task_id}/{-1 if map_index is None else map_index}"


def calls_it_running(ti: Any) -> bool:
    """Whether Airflow still means the task to run: where its worker is told to end all the same, it is the worker that goes away."""
    mapped = ti.map_index is not None and ti.map_index >= 0
    states = ti.get_task_states(ti.dag_id, map_index=ti.map_index if mapped else None, task_ids=[ti.task_id], run_ids=[ti.run_id])
    told = states.get(ti.run_id, {})
    return "running" in (told.get(ti.task_id), told.get(f"{ti.task_id}_{ti.map_index}"))


@dataclass(frozen=True)
class AirflowRun:
    """A DAG run by Airflow's own ids."""

    dag_id: str
    run_id: str

    @property
    def name(self) -> str:
        """The run in a RunKey, whose label the reaper asks about."""
        return f"{self.dag_id}/{self.run_id}"

    def key(self, owner: str, task_id: str, map_index: int) -> RunKey:
        """What a task's attempts have in common: not the number of the try."""
        return RunKey(owner, self.name, step(task_id, map_index))

    def shared_cluster(self, owner: str, prefix: str, cluster: str) -> str:
        """SkyPilot's name of the cluster that this run's tasks call `cluster`."""
        return naming.shared_cluster(prefix, cluster, owner=owner, run=self.name)

    @property
    def labels(self) -> Mapping[str, str]:
        """Both ids in as many labels as they take, so that nothing else has to be kept to find the run of a cluster."""
        ids = json.dumps([self.dag_id, self.run_id], ensure_ascii=False, separators=(",", ":"))
        text = base64.b32encode(ids.encode()).decode().rstrip("=").lower()
        parts = (text[start : start + _LENGTH] for start in range(0, len(text), _LENGTH))
        return {f"{_LABEL}-{number}": part for number, part in enumerate(parts, 1)}

    @classmethod
    def of_labels(cls, labels: Mapping[str, str]) -> AirflowRun | None:
        """The run that a cluster's labels lead to; None where they lead to none."""
        text = "".join(itertools.takewhile(bool, (labels.get(f"{_LABEL}-{number}", "") for number in itertools.count(1)))).upper()
        try:
            dag_id, run_id = json.loads(base64.b32decode(text + "=" * (-len(text) % 8)))
        except ValueError:
            return None
        return cls(str(dag_id), str(run_id))
