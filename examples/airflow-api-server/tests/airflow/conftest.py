"""Airflow with a database of its own, and a SkyPilot server in memory that outlives the event loops of workers and triggers."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from sky_orchestrate import naming
from tests.conftest import ROOT
from tests.contract import FAST
from tests.fake_sky import FakeServer, FakeSky, Speed

# Airflow reads its settings when it is first imported.
HOME = tempfile.mkdtemp(prefix="sky-airflow-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True",
)


class Bridged:
    """The server's client, called from any thread's loop: the server lives in a thread of its own."""

    def __init__(self, fake: FakeSky, home: asyncio.AbstractEventLoop) -> None:
        self._fake, self._home = fake, home

    def launching(self) -> Any:
        return self._fake.launching()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(getattr(self._fake, name)(*args, **kwargs), self._home))

        return call

    async def tail_logs(self, cluster_name: str, job_id: int, on_line: Callable[[str], None], *, follow: bool = True) -> int | None:
        here = asyncio.get_running_loop()
        lines = self._fake.tail_logs(cluster_name, job_id, lambda line: here.call_soon_threadsafe(on_line, line) and None, follow=follow)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(lines, self._home))


@dataclass
class Sky:
    """What the tests see of the server in memory."""

    server: FakeServer
    loop: asyncio.AbstractEventLoop
    endpoints: list[str] = field(default_factory=list)

    def client(self, settings: Any = None) -> Any:
        self.endpoints += [settings.endpoint] if settings else []
        return Bridged(self.server.client(), self.loop)

    def do(self, act: Callable[[], Any]) -> None:
        """In the server's own thread."""

        async def done() -> None:
            act()

        asyncio.run_coroutine_threadsafe(done(), self.loop).result()

    async def until_running(self, cluster: str) -> None:
        while cluster not in self.server.clusters or not any(job.status.live for job in self.server.clusters[cluster].jobs):
            await asyncio.sleep(0.002)


@pytest.fixture
def sky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sky]:
    """SkyPilot for every hook of the test."""
    from sky_orchestrate.airflow.hook import SkyHook

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    here = Sky(FakeServer(Speed()), loop)
    monkeypatch.setattr(SkyHook, "connect_to", staticmethod(here.client))
    monkeypatch.setattr(SkyHook, "pace", FAST)
    monkeypatch.setattr(SkyHook, "_clients", WeakKeyDictionary())
    monkeypatch.delenv("SKYPILOT_API_SERVER_ENDPOINT", raising=False)
    yield here

    async def end_everything() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.01)

    asyncio.run_coroutine_threadsafe(end_everything(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def database() -> None:
    """Airflow's, as `make ui` prepares it."""
    from airflow_local.prepare import prepare

    prepare()


def own_cluster(task_id: str, run_id: str, *, dag_id: str = "pipeline", task: str = "train", map_index: int = -1) -> str:
    """The cluster of a task that shares none."""
    from sky_orchestrate.airflow.runs import AirflowRun
    from sky_orchestrate.settings import load_settings

    settings = load_settings(root=ROOT)
    return naming.cluster_name(settings.slug, task, AirflowRun(dag_id, run_id).key(settings.owner, task_id, map_index))


def request(run: str = "echo done", **given: Any) -> dict[str, Any]:
    """A StepRequest's data, as a worker would hand it to the triggerer."""
    from dataclasses import asdict

    from sky_orchestrate.airflow.attempt import StepRequest
    from sky_orchestrate.settings import load_settings

    asked = {
        "dag_id": "pipeline",
        "run_id": "manual__2026-11-25T10:00:00+00:00",
        "task_id": "train",
        "map_index": -1,
        "conn_id": "skypilot_default",
        "prefix": load_settings(root=ROOT).slug,
        "task_yaml": f"name: train\nrun: |\n  {run}\n",
    }
    return asdict(StepRequest(**{**asked, **given}))
