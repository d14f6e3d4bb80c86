"""What workflows, activities and their callers send each other: it stands in histories, so every field may be missing or unknown.

A new field gets a default, and an old one is not renamed. No field ever holds the value of a secret: `secrets` are the names
that a worker looks up in its environment or .env, by the task's own names for them, such as {"HF_TOKEN": "TEAM_HF_TOKEN"}.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sky_orchestrate.result import Limits, TaskResult

TASK_QUEUE = "skypilot-task-queue"


@dataclass(frozen=True)
class GitCloneInput:
    """The task files a workflow needs, checked with what will be laid over them. Without `repo_url` they are the project's own.

    `yaml_contents` has the text of those that are given instead of read.
    """

    yaml_file_paths: list[str] = field(default_factory=list[str])
    yaml_contents: dict[str, str] = field(default_factory=dict[str, str])
    repo_url: str = ""
    branch: str | None = None
    envs_override: dict[str, str] | None = None
    secrets: dict[str, str] | None = None
    infra: str | None = None
    api_server_endpoint: str | None = None


@dataclass(frozen=True)
class GitCloneOutput:
    """The files' text and their tasks' names by their paths, and the commit that every worker fetches from now on.

    `prefix` is the start of the names of the project's clusters.
    """

    success: bool = True
    message: str = ""
    yaml_contents: dict[str, str] = field(default_factory=dict[str, str])
    names: dict[str, str] = field(default_factory=dict[str, str])
    commit: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class SkyCommand:
    """A task for a cluster. The job is called `job_name`, or as the cluster where that is empty.

    `repo_url` and `commit` are where the task's files come from; without them they are the project's own. `yaml_path` is what errors
    call the text. `provision_timeout` is in seconds. `keep` leaves the cluster up on purpose, without autodown.
    """

    cluster_name: str = ""
    yaml_content: str = ""
    envs_override: dict[str, str] | None = None
    api_server_endpoint: str | None = None
    job_name: str = ""
    yaml_path: str = "task YAML"
    repo_url: str = ""
    commit: str = ""
    secrets: dict[str, str] | None = None
    infra: str | None = None
    resources: dict[str, Any] | None = None
    wait_for_capacity: bool = False
    provision_timeout: float | None = None
    keep: bool = False


@dataclass(frozen=True)
class SkyLaunchCommand(SkyCommand):
    """Launch a cluster with the task, or find what an earlier attempt launched."""


@dataclass(frozen=True)
class SkyExecCommand(SkyCommand):
    """Run the task on a cluster that another step has set up, after that step's job."""


@dataclass(frozen=True)
class SkyJob:
    """A job on its cluster. `found`: an earlier attempt submitted it; `first`: no other delivery came between. Times are Unix seconds.

    `provisioned` are the seconds until the cluster had taken it.
    """

    cluster_name: str = ""
    job_name: str = ""
    job_id: int = 0
    found: bool = False
    first: bool = False
    started_at: float | None = None
    submitted_at: float | None = None
    provisioned: float = 0.0


@dataclass(frozen=True)
class SkyWaitCommand:
    """Follow a job to its end. Limits are seconds; `secrets` are named so that the log can be shown without them."""

    job: SkyJob = field(default_factory=SkyJob)
    api_server_endpoint: str | None = None
    secrets: dict[str, str] | None = None
    queued_timeout: float | None = None
    run_timeout: float | None = None


@dataclass(frozen=True)
class WaitPosition:
    """Where a wait has come to: the next attempt, on whichever worker, goes on from there. `last_lines` are for people."""

    cluster_name: str = ""
    job_id: int = 0
    lines: int = 0
    started_at: float | None = None
    last_lines: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class SkyDownCommand:
    """Take a cluster down, and show that it is gone."""

    cluster_name: str = ""
    api_server_endpoint: str | None = None


@dataclass(frozen=True)
class SkyPilotWorkflowInput:
    """The pipeline. Empty: the project's own prefix for clusters, its own tasks, the default branch, the worker's endpoint.

    A step that fails where another attempt can help gets `attempts` of them, `retry_delay` seconds apart. `keep_cluster` leaves the
    training cluster up after the end, on purpose.
    """

    cluster_prefix: str = ""
    repo_url: str = ""
    envs_override: dict[str, str] | None = None
    branch: str | None = None
    api_server_endpoint: str | None = None
    tasks_folder: str | None = None
    secrets: dict[str, str] | None = None
    infra: str | None = None
    attempts: int = 3
    retry_delay: float = 30.0
    wait_for_capacity: bool = False
    keep_cluster: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class SkyPilotWorkflowResult:
    """What the pipeline came to. `accuracy` is None where evaluation was skipped."""

    accuracy: float | None = None
    steps: dict[str, TaskResult] = field(default_factory=dict[str, TaskResult])


@dataclass(frozen=True)
class PipelineStatus:
    """Where a run is: the answer to the query `status`, and the run's memo."""

    step: str = ""
    cluster_name: str = ""
    job_id: int = 0
    accuracy: float | None = None
    skip_evaluation: bool = False
    finished: dict[str, TaskResult] = field(default_factory=dict[str, TaskResult])


@dataclass(frozen=True)
class SkyTaskInput:
    """One task: a file of the project or of `repo_url`, or its text as `yaml_content`."""

    yaml_path: str = ""
    yaml_content: str = ""
    repo_url: str = ""
    branch: str | None = None
    envs_override: dict[str, str] | None = None
    api_server_endpoint: str | None = None
    cluster_prefix: str = ""
    secrets: dict[str, str] | None = None
    infra: str | None = None
    resources: dict[str, Any] | None = None
    attempts: int = 3
    retry_delay: float = 30.0
    wait_for_capacity: bool = False
    down_on_completion: bool = True
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Trial:
    """One set of envs of a sweep, and how it ended. `value` is None where it failed; `told` is its model, or what went wrong."""

    number: int = 0
    envs: dict[str, str] = field(default_factory=dict[str, str])
    value: float | None = None
    cluster_name: str = ""
    seconds: float | None = None
    told: str = ""


@dataclass(frozen=True)
class SkySweepInput:
    """Train once for each of `trials` (envs laid over the task's), `max_parallel` clusters at a time, and rank by `metric`.

    `prepare` is a task that runs once before them, empty for none. `ended` and `run_name` are carried over when the history gets long:
    after `children_per_run` trials the workflow continues as new.
    """

    trials: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    task: SkyTaskInput = field(default_factory=lambda: SkyTaskInput(yaml_path="tasks/train.yaml"))
    prepare: str = "tasks/data_preprocessing.yaml"
    metric: str = "validation_accuracy"
    max_parallel: int = 3
    children_per_run: int = 500
    ended: list[Trial] = field(default_factory=list[Trial])
    run_name: str = ""


@dataclass(frozen=True)
class SkySweepResult:
    """The trials, best first; those that failed come last."""

    ranking: list[Trial] = field(default_factory=list[Trial])


@dataclass(frozen=True)
class SkyReapCommand:
    """Look at the project's clusters; `dry_run` only tells."""

    dry_run: bool = False
    api_server_endpoint: str | None = None
