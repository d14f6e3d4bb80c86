"""Keep what belongs to the chosen orchestrator, under its final name, and say how to go on."""

import os
import shlex
import shutil
import tempfile
from pathlib import Path


def _one_of_each(orchestrator: str) -> dict[str, str]:
    """What each orchestrator has one of, under its name here, and the project without that name."""
    requirements = ("requirements{}.in", "requirements{}.txt", "requirements-dev{}.in", "requirements-dev{}.txt")
    dotted = {name.format(f".{orchestrator}"): name.format("") for name in (*requirements, "orchestrator{}.mk")}
    return {**dotted, f"tests/e2e/orchestra_{orchestrator.replace('-', '_')}.py": "tests/e2e/orchestra.py"}


def _manifests(orchestrator: str) -> dict[str, str]:
    """Of those that run on Kubernetes: what all of them have there, and this one's own."""
    own = f"manifests.{orchestrator}"
    out_of_it = {f"{own}/{name}": f"manifests/{name}" for name in ("Dockerfile", "README.md")}
    shared = _as_they_are("manifests", "kube", "kubernetes.mk", "tests/kube", "tests/test_manifests.py")
    return {**shared, **out_of_it, own: "manifests/orchestrator"}


def _deployed(orchestrator: str) -> dict[str, str]:
    """Of those that run on Kubernetes: the tests of what the manifests make on a real cluster."""
    of_all = _in(
        "tests/e2e/deployed", "__init__.py", "conftest.py", "deployment.py", "test_kubernetes_pipeline.py", "test_kubernetes_rights.py"
    )
    own = f"tests/e2e/worker_pods_{orchestrator.replace('-', '_')}.py"
    return {own: "tests/e2e/worker_pods.py", **_as_they_are("tests/e2e/deployed"), **of_all}


def _worker_in_pods() -> dict[str, str]:
    """Of those whose worker is a deployment."""
    return _in("tests/e2e/deployed", "test_kubernetes_pod_faults.py", "test_kubernetes_worker_faults.py")


def _with_a_worker() -> dict[str, str]:
    """Of those whose worker runs on this machine, beside the local SkyPilot."""
    faults = ("job_faults", "kubernetes", "pipeline", "secrets", "server_faults", "smoke", "worker_faults")
    return _as_they_are(*(f"tests/e2e/test_{name}.py" for name in faults))


def _of_airflow() -> dict[str, str]:
    """Of both ways to run it."""
    overrides = {"requirements-overrides.airflow.txt": "requirements-overrides.txt"}
    package = _as_they_are("sky_orchestrate/airflow", "sky_orchestrate/airflow/__init__.py", "sky_orchestrate/airflow/runs.py")
    here = {**_in("airflow_local", "__init__.py", "database.py", "run.py", "ui.py"), **_as_they_are("airflow_local", "dags")}
    tests = _as_they_are("tests/e2e/airflow_processes.py", "tests/e2e/airflow_run.py")
    return {**overrides, **package, **here, **tests}


def _in(folder: str, *names: str) -> dict[str, str]:
    """Files of a folder that others keep something of too."""
    return _as_they_are(*(f"{folder}/{name}" for name in names))


def _as_they_are(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# orchestrator -> the files and folders that only it has, and their names in its project
KEPT = {
    "prefect": {
        **_one_of_each("prefect"),
        **_with_a_worker(),
        **_manifests("prefect"),
        **_deployed("prefect"),
        **_worker_in_pods(),
        **_as_they_are("flows", "prefect.yaml", "tests/flows"),
        **_as_they_are("tests/e2e/prefect_probe_flows.py", "tests/e2e/test_prefect_fan_out.py", "tests/e2e/test_prefect_faults.py"),
    },
    "temporal": {
        **_one_of_each("temporal"),
        **_with_a_worker(),
        **_manifests("temporal"),
        **_deployed("temporal"),
        **_worker_in_pods(),
        **_as_they_are("temporal", "run_worker.py", "run_workflow.py", "docs", "docs/temporal.png"),
        **_as_they_are("tests/temporal", "tests/e2e/test_temporal_faults.py"),
    },
    "airflow": {
        **_one_of_each("airflow"),
        **_with_a_worker(),
        **_of_airflow(),
        **_as_they_are("airflow_local/demo.py", "airflow_local/prepare.py", "docker-compose.yaml", "Dockerfile"),
        **_as_they_are("docs", "docs/airflow-graph.png", "docs/airflow-grid.png"),
        **_in("dags", "sky_provider_example.py", "sky_reaper.py", "sky_sweep.py", "sky_train_pipeline.py"),
        **_in("sky_orchestrate/airflow", "attempt.py", "cluster_operators.py", "hook.py", "links.py", "operators.py", "provider.py"),
        **_in("sky_orchestrate/airflow", "reaping.py", "run_state.py", "secret_values.py", "ssh.py", "task_operator.py"),
        **_in("sky_orchestrate/airflow", "transfer_operators.py", "trigger.py"),
        **_as_they_are("tests/airflow", "tests/e2e/airflow_probe_dag.py", "tests/e2e/airflow_pipeline_dag.py"),
        **_as_they_are("tests/e2e/test_airflow_faults.py"),
    },
    "airflow-kubernetes": {
        **_one_of_each("airflow-kubernetes"),
        **_manifests("airflow-kubernetes"),
        **_deployed("airflow-kubernetes"),
        **_in("tests/e2e/deployed", "test_kubernetes_airflow_pods.py"),
        **_of_airflow(),
        **_in("dags", "sky_k8s_costs.py", "sky_k8s_example.py", "sky_k8s_example_xcoms.py"),
        "dags/sky_k8s_train_pipeline.py": "dags/sky_train_pipeline.py",
        "airflow_local/prepare_pods.py": "airflow_local/prepare.py",
        **_as_they_are("sky_orchestrate/airflow_pods", "tests/airflow_pods"),
        **_as_they_are("docs", "docs/airflow-kubernetes-graph.png", "docs/airflow-kubernetes-grid.png"),
        **_as_they_are("tests/e2e/airflow_pods_pipeline_dag.py", "tests/e2e/airflow_pods_probe_dag.py"),
        **_as_they_are("tests/e2e/test_kubernetes_airflow.py"),
    },
}
# Where `make demo` runs the pipeline, unless on a local SkyPilot
DEMO_RUNS = {"airflow-kubernetes": ["in pods of a Kubernetes on this machine"]}
# What tests and linters that ran in the template's own folder leave behind
LEAVINGS = ("__pycache__", ".pytest_cache", ".ruff_cache")


def prune(project: Path, orchestrator: str) -> None:
    """Remove the other orchestrators' files, and give this one's their names."""
    kept = KEPT[orchestrator]
    for names in KEPT.values():
        for name in names.keys() - kept.keys():
            remove(project / name)
    for name, final in kept.items():
        if name != final and (project / name).exists():
            (project / name).rename(project / final)
    for parent, folders, _ in os.walk(project):
        for name in folders:
            if name in LEAVINGS:
                remove(Path(parent, name))
        folders[:] = [name for name in folders if not name.startswith(".") and name not in LEAVINGS]


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def next_commands(project: Path, caller: Path, demo_runs: str = "on a local SkyPilot") -> str:
    folder = project.relative_to(caller) if project.is_relative_to(caller) else project
    return (
        "\nNext:\n"
        f"  cd {shlex.quote(str(folder))}\n"
        f"  make demo                        # the pipeline, for real, {demo_runs}\n"
        "  cp .env.example .env && make run # the pipeline on your infra"
    )


def forget_this_copy(hook: Path) -> None:
    """cookiecutter renders each hook into the folder for temporary files, and leaves it there."""
    if hook.parent == Path(tempfile.gettempdir()):
        hook.unlink(missing_ok=True)


if __name__ == "__main__":
    forget_this_copy(Path(__file__))
    here = Path.cwd()
    chosen = "{{ cookiecutter.orchestrator | toml }}"
    prune(here, chosen)
    print(next_commands(here, Path(os.environ.get("PWD", here.parent)).resolve(), *DEMO_RUNS.get(chosen, ())))
