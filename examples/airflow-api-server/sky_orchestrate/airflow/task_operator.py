"""SkyTaskOperator: one SkyPilot task, whole. It finds again what an earlier attempt launched, tells a failed job, and leaves nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout, TaskDeferralError
from airflow.sdk.listener import get_listener_manager

from sky_orchestrate import naming
from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.links import PAGE, SkyClusterLink, cluster_page
from sky_orchestrate.airflow.runs import AirflowRun, calls_it_running
from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.settings import Settings

# DAG files, parsed again and again, import this module; what a task needs to run is imported when it does.
if TYPE_CHECKING:
    from sky_orchestrate.airflow.attempt import Attempt, StepRequest, Verdict
    from sky_orchestrate.task import TaskSpec

# Where a success is kept while its cluster goes down: a worker that dies then does not have the job run again.
_SUCCEEDED = "sky_succeeded"


class SkyTaskOperator(BaseOperator):
    """Run one SkyPilot task on a cluster of its own, and take that down; a retry attaches to what an earlier attempt started.

    `yaml_path` is a task file, `base_path` the folder or Git URL it lies in (`git_branch`: branch, tag or commit), `task_yaml` its text.
    `secrets` are names by the task's names for them: of a variable of the worker's environment, an Airflow Variable or a Connection, such
    as {"HF_TOKEN": "TEAM_HF_TOKEN"}. `task_resources` and `infra` are laid over the task's own. `cluster` is a name within the DAG run:
    tasks that give the same one run on one cluster in turn, and a SkyDownOperator takes it down. `down_on_completion=False` keeps the
    cluster after the job's end, without autodown. Limits are seconds; `execution_timeout` counts while the task is deferred too.

    Its XCom is TaskResult's data: cluster_name, job_id, status, outputs (what the job printed as `::sky-output::{json}`), log_tail and
    timings.
    """

    template_fields: Collection[str] = (
        *("yaml_path", "base_path", "task_yaml", "git_branch", "envs_override", "secrets", "infra", "task_resources"),
        *("cluster", "cluster_name", "cluster_prefix", "conn_id"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"envs_override": "json", "task_yaml": "yaml"}
    operator_extra_links = (SkyClusterLink(),)
    ui_color = "#e8f0fb"

    # Where in XCom the result stands. If elsewhere, the task returns its cluster's name.
    result_key: ClassVar[str] = BaseXCom.XCOM_RETURN_KEY

    def __init__(
        self,
        *,
        yaml_path: str | None = None,
        base_path: str | None = None,
        task_yaml: str | None = None,
        git_branch: str | None = None,
        envs_override: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        infra: str | None = None,
        task_resources: Mapping[str, Any] | None = None,
        cluster: str | None = None,
        cluster_name: Any = None,
        cluster_prefix: str | None = None,
        down_on_completion: bool = True,
        wait_for_capacity: bool = False,
        provision_timeout: float | None = None,
        queued_timeout: float | None = None,
        run_timeout: float | None = None,
        conn_id: str = SkyHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.yaml_path, self.base_path, self.task_yaml, self.git_branch = yaml_path, base_path, task_yaml, git_branch
        self.envs_override, self.secrets, self.infra, self.task_resources = envs_override, secrets, infra, task_resources
        self.cluster, self.cluster_name, self.cluster_prefix = cluster, cluster_name, cluster_prefix
        self.down_on_completion, self.wait_for_capacity = down_on_completion, wait_for_capacity
        self.provision_timeout, self.queued_timeout, self.run_timeout = provision_timeout, queued_timeout, run_timeout
        self.conn_id, self.deferrable = conn_id, deferrable
        self._waiting: _OnThisWorker | None = None

    def execute(self, context: Any) -> Any:
        from sky_orchestrate.airflow.attempt import Attempt, verdict_of
        from sky_orchestrate.airflow.trigger import SkyTaskTrigger

        succeeded = context["task_state_store"].get(_SUCCEEDED)
        if succeeded:
            self.log.info("the job of an earlier attempt succeeded; what is left is to take its cluster down")
            return self._conclude(context, verdict_of(succeeded))
        request = self._request(context)
        if not self.deferrable:
            # The attempt keeps to the deadline itself: what an alarm raises amid an event loop may be lost there, and a cluster with it.
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._waiting = _OnThisWorker(Attempt(request, self._say), context["ti"])
            return self._conclude(context, self._waiting.verdict())
        trigger = SkyTaskTrigger(**asdict(request), ends_task=not self._ends_on_a_worker(), result_key=self.result_key)
        return self.defer(trigger=trigger, method_name=self.execute_complete.__name__)

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Any:
        """The triggerer has told how the job ended."""
        from sky_orchestrate.airflow.attempt import verdict_of

        return self._conclude(context, verdict_of(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """As Airflow resumes a deferred task; where the trigger itself could not be run, a cluster of it goes down first."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralError:
            if self.down_on_completion and not (self.cluster or self.cluster_name):
                self._take_down(self._cluster_of(context))
            raise

    def on_kill(self) -> None:
        """SIGTERM: the user's cancel, or a worker that goes away. While the cluster goes down there is nothing else to do."""
        if self._waiting is not None:
            self._waiting.terminated()

    def settle(self) -> None:
        """For operators whose arguments are others: set this one's, once templates are rendered."""

    def _conclude(self, context: Any, verdict: Verdict) -> Any:
        store = context["task_state_store"]
        took: float | None = None
        if verdict.tear_down:
            if verdict.result is not None:
                store.set(_SUCCEEDED, verdict.as_dict())
            took = self._take_down(verdict.tear_down)
            store.delete(_SUCCEEDED)
        if verdict.result is not None:
            xcoms = verdict.xcoms(self.result_key, torn_down=took)
            returned = xcoms.pop(BaseXCom.XCOM_RETURN_KEY)
            for key, value in xcoms.items():
                context["ti"].xcom_push(key, value)
            return returned
        if verdict.timed_out:
            raise AirflowTaskTimeout(verdict.error)
        raise (AirflowException if verdict.retryable else AirflowFailException)(verdict.error)

    def _ends_on_a_worker(self) -> bool:
        """Whether a success needs one though its cluster stays: assets, hooks and listeners are Airflow's workers' own."""
        asked = self.outlets or self.on_success_callback or self._post_execute_hook
        returns_otherwise = not self.do_xcom_push or self.multiple_outputs or self.returns_dag_result or any(self.iter_mapped_dependants())
        return bool(asked or returns_otherwise) or get_listener_manager().has_listeners

    def _request(self, context: Any) -> StepRequest:
        """Everything settled that can be before anything is launched. Raises AirflowFailException for what no retry mends."""
        from sky_orchestrate.airflow.attempt import StepRequest

        self.settle()
        ti, hook = context["ti"], SkyHook(self.conn_id)
        settings = told_to_airflow(hook.settings)
        run = AirflowRun(ti.dag_id, ti.run_id)
        prefix = self.cluster_prefix or settings.slug
        limit = self.execution_timeout
        request = StepRequest(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            conn_id=self.conn_id,
            prefix=prefix,
            yaml_path=self.yaml_path,
            base_path=self.base_path,
            task_yaml=self.task_yaml,
            git_ref=self.git_branch,
            envs={name: str(value) for name, value in (self.envs_override or {}).items()},
            secrets=dict(self.secrets or {}),
            infra=self.infra,
            resources=dict(self.task_resources or {}),
            cluster_name=self.cluster_name or (run.shared_cluster(settings.owner, prefix, self.cluster) if self.cluster else None),
            keep=not self.down_on_completion,
            wait_for_capacity=self.wait_for_capacity,
            provision_timeout=self.provision_timeout,
            queued_timeout=self.queued_timeout,
            run_timeout=self.run_timeout,
            deadline=None if limit is None else time.time() + limit.total_seconds(),
        )
        task = told_to_airflow(lambda: request.load(settings))
        cluster = _cluster_of(request, task, settings)
        ti.xcom_push(PAGE, cluster_page(settings, cluster))
        self.log.info("the cluster is %s: %s", cluster, cluster_page(settings, cluster))
        # The commit that a branch stands at now: the triggerer, on another host perhaps, takes the same.
        return replace(request, git_ref=task.origin.commit) if task.origin else request

    def _cluster_of(self, context: Any) -> str:
        request, settings = self._request(context), told_to_airflow(SkyHook(self.conn_id).settings)
        return _cluster_of(request, told_to_airflow(lambda: request.load(settings)), settings)

    def _take_down(self, cluster: str) -> float:
        return take_down(cluster, SkyHook(self.conn_id), say=self._say)

    def _say(self, line: str) -> None:
        self.log.info("%s", line)


class _OnThisWorker:
    """A wait that holds its worker, for tasks that are not deferred."""

    def __init__(self, attempt: Attempt, ti: Any) -> None:
        self._attempt, self._ti = attempt, ti
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._terminated = False

    def verdict(self) -> Verdict:
        return asyncio.run(self._verdict())

    def terminated(self) -> None:
        """Called in the signal's handler, so it only asks the loop for more."""
        self._terminated = True
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _verdict(self) -> Verdict:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            return await self._attempt.verdict()
        except asyncio.CancelledError:
            await self._attempt.end_cancelled(self._user_cancelled)
            raise AirflowException("the task was told to stop") from None

    async def _user_cancelled(self) -> bool:
        """Airflow still calls the task running where it is the worker that goes away. Ctrl-C comes without a signal to it."""
        if not self._terminated:
            return True
        return not await asyncio.to_thread(calls_it_running, self._ti)


def take_down(cluster: str, hook: SkyHook, *, say: Any) -> float:
    """Take a cluster down and show that it is gone; returns the seconds it took. Raises AirflowException kinds."""
    from sky_orchestrate.teardown import tear_down

    async def gone() -> float:
        client = await hook.get_client()
        return round(await tear_down(client, cluster, pace=hook.pace), 1)

    say(f"taking down {cluster}")
    took = told_to_airflow(lambda: asyncio.run(gone()))
    say(f"{cluster} is gone ({took:.0f} s)")
    return took


def told_to_airflow(question: Any) -> Any:
    """What `question` gives; errors of ours as Airflow's, which say whether a retry can help."""
    try:
        return question()
    except SkyOrchestrateError as error:
        raise (AirflowException if error.retryable else AirflowFailException)(str(error)) from error


def _cluster_of(request: StepRequest, task: TaskSpec, settings: Settings) -> str:
    own = naming.cluster_name(request.prefix, task.name, request.run.key(settings.owner, request.task_id, request.map_index))
    return request.cluster_name or own
