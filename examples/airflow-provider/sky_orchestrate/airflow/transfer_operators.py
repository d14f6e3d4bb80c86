"""The provider guide's operators that reach into a cluster: a command by ssh, and files by rsync, through SkyPilot's API server."""

from __future__ import annotations

import asyncio
import subprocess
from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sky_orchestrate.airflow.cluster_operators import deprecate_home, found_cluster, one_cluster
from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.ssh import rsync_down_command, rsync_up_command, ssh_command
from sky_orchestrate.airflow.task_operator import told_to_airflow

_TAIL = 20


class _OnClusterOperator(BaseOperator):
    """Runs one command of this machine that reaches the cluster. Its XCom is the cluster's name, for the operator that follows."""

    template_fields: Collection[str] = ("cluster", "cluster_name", "cluster_prefix", "conn_id")

    def __init__(
        self,
        *,
        cluster: str | None = None,
        cluster_name: Any = None,
        cluster_prefix: str | None = None,
        conn_id: str = SkyHook.default_conn_name,
        sky_home_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        deprecate_home(sky_home_dir)
        super().__init__(**kwargs)
        self.cluster, self.cluster_name, self.cluster_prefix, self.conn_id = cluster, cluster_name, cluster_prefix, conn_id
        one_cluster(self)
        self._process: subprocess.Popen[str] | None = None

    @abstractmethod
    def reach(self, options: Sequence[str], cluster: str) -> Sequence[str]:
        """The command, given ssh's options with which the cluster's name is a host."""

    def execute(self, context: Any) -> str:
        cluster, hook = found_cluster(self, context), SkyHook(self.conn_id)

        async def options() -> Sequence[str]:
            return await (await hook.get_client()).ssh_options(cluster)

        command = told_to_airflow(lambda: self.reach(asyncio.run(options()), cluster))
        self._run(command)
        return cluster

    def on_kill(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def _run(self, command: Sequence[str]) -> None:
        last: deque[str] = deque(maxlen=_TAIL)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
        except FileNotFoundError:
            raise AirflowFailException(f"{command[0]} is not installed here; it is a package of that name, or openssh-client") from None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            last.append(line.rstrip())
            self.log.info("%s", line.rstrip())
        code = self._process.wait()
        if code:
            said = "".join(f"\n  {line}" for line in last)
            raise AirflowException(f"{command[0]} ended with exit code {code}" + (f"; its last lines:{said}" if said else ""))


class SkySSHOperator(_OnClusterOperator):
    """Run `command`, a line of shell, on the cluster's first node. It fails with the command's exit code and its last 20 lines.

    What stands in `command` is shell: a value that others give, a param say, belongs into it through `shlex.quote`.
    """

    template_fields: Collection[str] = (*_OnClusterOperator.template_fields, "command")

    def __init__(self, *, command: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.command = command

    def reach(self, options: Sequence[str], cluster: str) -> Sequence[str]:
        return ssh_command(options, cluster, self.command)


class SkyRsyncUpOperator(_OnClusterOperator):
    """Copy `source`, a file or folder of the worker, to `target` on the cluster's first node, where `~/` is the home folder."""

    template_fields: Collection[str] = (*_OnClusterOperator.template_fields, "source", "target")

    def __init__(self, *, source: str, target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source, self.target = source, target

    def reach(self, options: Sequence[str], cluster: str) -> Sequence[str]:
        return rsync_up_command(options, cluster, self.source, self.target)


class SkyRsyncDownOperator(_OnClusterOperator):
    """Copy `source`, a file or folder of the cluster's first node, to `target` on the worker."""

    template_fields: Collection[str] = (*_OnClusterOperator.template_fields, "source", "target")

    def __init__(self, *, source: str, target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source, self.target = source, target

    def reach(self, options: Sequence[str], cluster: str) -> Sequence[str]:
        return rsync_down_command(options, cluster, self.source, self.target)
