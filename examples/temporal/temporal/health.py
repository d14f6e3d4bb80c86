"""Whether a worker lives and can work, over HTTP: for a kubelet, or whoever else restarts what hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from sky_orchestrate.errors import SettingsError


@asynccontextmanager
async def health_page(address: str, worker: Worker, client: Client) -> AsyncIterator[None]:
    """`/live` while the worker's loop turns, `/ready` while it polls and Temporal answers. No page for an empty address."""
    if not address:
        yield
        return
    # Few workers serve the page, and every command imports the worker.
    from aiohttp import web

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_: web.Request) -> web.Response:
        if not worker.is_running:
            return web.Response(status=503, text="the worker does not poll\n")
        try:
            await client.service_client.check_health(timeout=timedelta(seconds=5))
        except RPCError as error:
            return web.Response(status=503, text=f"Temporal does not answer: {error}\n")
        return web.Response(text="ready\n")

    app = web.Application()
    app.add_routes([web.get("/live", live), web.get("/ready", ready)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, port = address.rsplit(":", 1)
    try:
        await web.TCPSite(runner, host, int(port)).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"TEMPORAL_HEALTH_ADDRESS {address} cannot be listened on: {error.strerror or error}") from error
    try:
        yield
    finally:
        await runner.cleanup()
