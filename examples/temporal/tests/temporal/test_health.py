"""What a kubelet and a Prometheus get to see of a worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from temporalio.service import RPCError, RPCStatusCode

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.patience import within
from temporal.health import health_page
from temporal.worker import _runtime  # pyright: ignore[reportPrivateUsage]
from temporal.worker_settings import WorkerSettings
from tests.conftest import ROOT
from tests.temporal.conftest import Site
from tests.temporal.dev_server import free_ports


async def asked(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, (await answer.text()).strip()


def free() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


async def test_a_worker_that_polls_lives_and_is_ready(site: Site) -> None:
    address = free()
    async with site.working() as worker, health_page(address, worker, site.client):
        assert await asked(f"http://{address}/live") == (200, "live")
        async with within(10):
            while await asked(f"http://{address}/ready") != (200, "ready"):
                await asyncio.sleep(0.02)
        assert (await asked(f"http://{address}/"))[0] == 404


async def test_a_worker_that_does_not_poll_lives_and_is_not_ready(site: Site) -> None:
    address, worker = free(), site.worker()
    async with health_page(address, worker, site.client):
        assert await asked(f"http://{address}/live") == (200, "live")
        assert await asked(f"http://{address}/ready") == (503, "the worker does not poll")


async def test_a_worker_without_temporal_lives_and_is_not_ready() -> None:
    async def no_answer(**_: Any) -> bool:
        raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")

    worker: Any = SimpleNamespace(is_running=True)
    client: Any = SimpleNamespace(service_client=SimpleNamespace(check_health=no_answer))
    address = free()
    async with health_page(address, worker, client):
        assert (await asked(f"http://{address}/live"))[0] == 200
        assert await asked(f"http://{address}/ready") == (503, "Temporal does not answer: connection refused")


async def test_an_address_in_use_is_one_clear_line() -> None:
    nothing: Any = None
    address = free()
    async with health_page(address, nothing, nothing):
        with pytest.raises(SettingsError, match=rf"TEMPORAL_HEALTH_ADDRESS {address} cannot be listened on: [^\n]+$"):
            async with health_page(address, nothing, nothing):
                pass


async def test_without_an_address_there_is_no_page() -> None:
    nothing: Any = None
    async with health_page("", nothing, nothing):
        pass


async def test_metrics_are_answered_in_prometheus_text(address: str) -> None:
    metrics = free()
    code = f"""
import asyncio
from temporalio.client import Client
from temporal.worker import _runtime
from temporal.worker_settings import WorkerSettings

async def main():
    await Client.connect({address!r}, runtime=_runtime(WorkerSettings(metrics={metrics!r})))
    print("connected", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert client.stdout is not None
        async with within(30):
            assert await client.stdout.readline() == b"connected\n"
        status, text = await asked(f"http://{metrics}/metrics")
    finally:
        client.kill()
        await client.wait()
    assert status == 200
    assert "# TYPE temporal_request" in text


async def test_a_metrics_address_in_use_is_one_clear_line() -> None:
    nothing: Any = None
    address = free()
    async with health_page(address, nothing, nothing):
        with pytest.raises(SettingsError, match=rf"TEMPORAL_METRICS_ADDRESS {address} cannot be listened on: [^\n]+$"):
            _runtime(WorkerSettings(metrics=address))
