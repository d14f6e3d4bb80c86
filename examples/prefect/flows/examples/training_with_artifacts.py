"""Shows a training in Prefect's UI: its metrics, its loss curve as a picture, and links to what it made.

python -m flows.examples.training_with_artifacts
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact
from prefect.runtime import flow_run

from flows.cancellation import take_down_rest
from flows.scope import sky_teardowns
from flows.sky_train_flow import run_sky_task


@flow(name="training_with_artifacts", on_cancellation=[take_down_rest])
async def training_with_artifacts(epochs: int = 30, api_server_endpoint: str | None = None) -> dict[str, Any]:
    run = {"RUN_NAME": str(flow_run.id)}
    async with sky_teardowns():
        await run_sky_task(yaml_path="tasks/data_preprocessing.yaml", envs_override=run, api_server_endpoint=api_server_endpoint)
        training = await run_sky_task(
            yaml_path="tasks/train.yaml", envs_override={**run, "EPOCHS": str(epochs)}, api_server_endpoint=api_server_endpoint
        )
        outputs = training["outputs"]
        await acreate_markdown_artifact(key="training-results", markdown=_report(training), description="What the training came to")
        await acreate_link_artifact(key="model", link=outputs["model_url"], description="The trained model")
    return outputs


def _report(training: dict[str, Any]) -> str:
    outputs, timings = training["outputs"], training["timings"]
    rows = {
        "Validation accuracy": f"{outputs['validation_accuracy']:.4f}",
        "Final loss": f"{outputs['final_loss']:.4f}",
        "Epochs": outputs["epochs"],
        "Learning rate": outputs["learning_rate"],
        "Batch size": outputs["batch_size"],
        "Training": f"{outputs['train_seconds']:.1f} s",
        "Cluster": f"`{training['cluster_name']}`, up after {timings['provisioned']:.0f} s",
        "Model": f"`{outputs['model_url']}`",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    # An image artifact would show the picture too, and below it all of its data: URL.
    return f"## Training complete\n\n| Metric | Value |\n|---|---|\n{table}\n\n![Training loss]({loss_curve(outputs['loss_history'])})\n"


def loss_curve(losses: Sequence[float], width: int = 640, height: int = 360) -> str:
    """A picture of the losses as a data: URL: it needs no storage that a browser would have to reach."""
    left, top, right, bottom = 60, 20, width - 20, height - 40
    highest = max(losses, default=0.0) or 1.0
    step = (right - left) / max(len(losses) - 1, 1)
    points = " ".join(f"{left + index * step:.1f},{bottom - (bottom - top) * loss / highest:.1f}" for index, loss in enumerate(losses))
    marks = "".join(
        f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{highest * part / 4:.2f}</text>'
        for part in range(5)
        for y in [bottom - (bottom - top) * part / 4]
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12" fill="#555">'
        f'<rect width="100%" height="100%" fill="white"/>{marks}'
        f'<polyline points="{points}" fill="none" stroke="#2563eb" stroke-width="2"/>'
        f'<text x="{left}" y="{height - 16}">1</text><text x="{right}" y="{height - 16}" text-anchor="end">{len(losses)}</text>'
        f'<text x="{(left + right) / 2}" y="{height - 12}" text-anchor="middle">epoch</text></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


if __name__ == "__main__":
    asyncio.run(training_with_artifacts())
