"""What the clusters of the last month cost, as SkyPilot counts it: Python that needs SkyPilot, run where that is installed.

Airflow's own workers may be of another image: the function runs in a pod of the project's.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from sky_orchestrate.airflow_pods.pod import task_pod

POD: dict[str, Any] = {**task_pod(), "name": "sky-costs", "do_xcom_push": False}


@task.kubernetes(**POD)
def costs(days: int) -> None:
    """Print each cluster's cost, the dearest first, and their sum."""
    import sky

    rows = sky.get(sky.cost_report(days=days))
    told = sorted(((float(row.get("total_cost") or 0.0), str(row["name"])) for row in rows), reverse=True)
    for cost, name in told:
        print(f"{name}: ${cost:.2f}")
    print(f"{len(told)} clusters, ${sum(cost for cost, _ in told):.2f} in {days} days")


with DAG(
    dag_id="sky_k8s_costs",
    description="What the clusters of the last month cost",
    schedule="@weekly",
    catchup=False,
    tags=["skypilot", "maintenance"],
) as dag:
    costs(days=30)
