"""SkyPodOperator: one command of `python -m sky_orchestrate` in a pod, with the whole contract for what it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import PodDefaults
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from kubernetes.client import models as k8s

from sky_orchestrate.airflow.runs import AirflowRun, calls_it_running, step
from sky_orchestrate.airflow_pods import ending
from sky_orchestrate.airflow_pods.pod import secret_variables, task_pod
from sky_orchestrate.airflow_pods.trigger import SkyPodTrigger

COMMANDS = ("run", "logs", "status", "down", "reap", "doctor")
_OF_A_RUN = ("run", "logs", "status", "down")
_RESULT, _ERROR = f"{PodDefaults.XCOM_MOUNT_PATH}/return.json", "/dev/termination-log"
# As KubernetesPodOperator's own, but that one heeds no SIGTERM, and holds a pod that has to go for all of its grace.
_SIDECAR = ["sh", "-c", 'trap "exit 0" INT TERM; while true; do sleep 1; done']
# A worker that is told to end has five seconds.
_ANSWER_WITHIN = 3.0


class SkyPodOperator(KubernetesPodOperator):
    """Run a command of `python -m sky_orchestrate` in a pod of the project's image.

    `sky_command` is its arguments, such as ["run", "tasks/train.yaml"] or ["down", "train"]; none is read by a shell. What names the run
    and the task is added, the same at each try: a retry attaches to the pod of the try before, or to its job where the pod is gone. A
    cluster's name is one within the DAG run; with `within_run=False` it is SkyPilot's own. `task_secrets` are Kubernetes Secrets by the
    task's names for them, such as {"HF_TOKEN": "team-tokens/hf"}. All else is KubernetesPodOperator's.

    The XCom of `run` is TaskResult's data: cluster_name, job_id, status, outputs, log_tail and timings.
    """

    template_fields: Sequence[str] = (*KubernetesPodOperator.template_fields, "sky_command", "task_secrets")
    ui_color = "#e8f0fb"

    def __init__(
        self,
        *,
        sky_command: Sequence[str],
        task_secrets: Mapping[str, str] | None = None,
        within_run: bool = True,
        env_vars: list[k8s.V1EnvVar] | Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(sky_command, str) or not sky_command or sky_command[0] not in COMMANDS:
            raise ValueError(f"sky_command is {sky_command!r}, and would be right as a list that begins with one of {', '.join(COMMANDS)}")
        given = {**(kwargs.get("default_args") or {}), **kwargs}
        runs = sky_command[0] == "run"
        own = {
            **task_pod(),
            "cmds": ["python"],
            "do_xcom_push": runs,
            # What the command says last is why it failed, unless it wrote that itself.
            "termination_message_policy": "FallbackToLogsOnError",
            # The job's lines, while it runs.
            "logging_interval": 5,
        }
        if isinstance(env_vars, Mapping):
            env_vars = [k8s.V1EnvVar(name=name, value=value) for name, value in env_vars.items()]
        own["env_vars"] = [*own["env_vars"], *(env_vars or []), *secret_variables(task_secrets or {})]
        super().__init__(**{**{name: value for name, value in own.items() if name not in given}, **kwargs})
        self.sky_command, self.task_secrets, self.within_run = list(sky_command), dict(task_secrets or {}), within_run
        self._ti: Any = None

    def execute(self, context: Any) -> Any:
        self._ti = context["ti"]
        with self._failure_told():
            return super().execute(context)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """The triggerer has told how the pod ended, or that it took too long."""
        self._ti = context["ti"]
        timed_out = event["status"] == "timeout"
        if timed_out:
            self._end(event["name"], event["namespace"])
        with self._failure_told(event["message"] if timed_out else ""):
            return super().trigger_reentry(context, event)

    def await_pod_completion(self, pod: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  # a decorated method there
        """Where the task is not deferred."""
        try:
            super().await_pod_completion(pod)
        except AirflowTaskTimeout:
            self._end(pod.metadata.name, pod.metadata.namespace)
            raise

    def on_kill(self) -> None:
        """SIGTERM: the user's cancel, or a worker that goes away. Then the pod stays, and the next attempt attaches to it."""
        # With this set, KubernetesPodOperator does not delete the pod on its way out.
        self._killed = True
        pod: Any = self.pod
        if pod is None:
            return
        name = pod.metadata.name
        if not self._user_cancelled():
            self.log.info("this worker is going away: pod %s stays for the next attempt", name)
            return
        ending.cancel(self.client, name, pod.metadata.namespace)

    def defer(self, *, trigger: Any, **kwargs: Any) -> Any:
        super().defer(trigger=SkyPodTrigger(**trigger.serialize()[1]), **kwargs)

    def build_pod_request_obj(self, context: Any = None, *, dry_run: bool = False) -> k8s.V1Pod:
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        assert pod.spec is not None
        pod.spec.enable_service_links = False
        base, *others = pod.spec.containers
        base.args = self.pod_arguments(context)
        for sidecar in others:
            if sidecar.name == PodDefaults.SIDECAR_CONTAINER_NAME:
                # It needs a shell alone, and this image is on the node.
                sidecar.image, sidecar.image_pull_policy = base.image, base.image_pull_policy
                sidecar.command = _SIDECAR
        return pod

    def pod_arguments(self, context: Any) -> list[str]:
        """The pod's command line: nothing in it differs from one try to the next."""
        command, *rest = self.sky_command
        arguments = ["-m", "sky_orchestrate", command, *rest]
        # A job is always one of its run: without it, the key would be the same in every run.
        if context and command in _OF_A_RUN and (self.within_run or command == "run"):
            arguments += ["--run", AirflowRun(context["ti"].dag_id, context["ti"].run_id).name]
        if command == "run":
            arguments += [part for name in self.task_secrets for part in ("--secret", name)]
            arguments += [*self._identity(context), "--error", _ERROR, *(["--result", _RESULT] if self.do_xcom_push else [])]
        return arguments

    def _identity(self, context: Any) -> list[str]:
        if not context:
            return []
        ti = context["ti"]
        labels = (f"{name}={value}" for name, value in AirflowRun(ti.dag_id, ti.run_id).labels.items())
        return ["--key", step(ti.task_id, ti.map_index), *(part for label in labels for part in ("--label", label))]

    @contextmanager
    def _failure_told(self, otherwise: str = "") -> Generator[None, None, None]:
        """Airflow's error for the pod's own: one line, and no retry where none helps."""
        try:
            yield
        except (AirflowSkipException, AirflowFailException, AirflowTaskTimeout):
            raise
        except AirflowException as error:
            pod = self.pod if self.pod is not None and self.pod.status is not None else self.remote_pod
            found = ending.Failure(otherwise) if otherwise else ending.failure(pod, " ".join(str(error).split())[:500])
            raise (AirflowException if found.retryable else AirflowFailException)(found.says) from None

    def _end(self, name: str, namespace: str) -> None:
        """After a timeout: the cluster goes down, and that is waited for, so that a retry begins anew."""
        if not ending.interrupt(self.client, name, namespace):
            return
        give_up = time.monotonic() + ending.GRACE
        while time.monotonic() < give_up:
            if not self.pod_manager.container_is_running(self.hook.get_pod(name, namespace), self.base_container_name):
                return
            time.sleep(2)

    def _user_cancelled(self) -> bool:
        """Asked beside the signal's handler, for what it interrupted may be a question to Airflow too. Unanswered, the pod stays."""
        running: list[bool] = []
        asked = threading.Thread(target=lambda: running.append(calls_it_running(self._ti)), daemon=True)
        asked.start()
        asked.join(_ANSWER_WITHIN)
        return running == [False]
