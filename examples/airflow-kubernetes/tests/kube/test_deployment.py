"""What deploying makes of the manifests, and what it says where something is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kube import commands, deployment, images
from kube.__main__ import main
from kube.commands import KubeError
from kube.images import Image
from kube.project import Project, here
from tests.kube.kubectl import NEEDS_KUBECTL


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copytree(here().manifests, tmp_path / "manifests", ignore=shutil.ignore_patterns("*.env"))
    return Project(tmp_path, here().slug)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, with nothing in it yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(tools: Path, name: str, script: str) -> None:
    (tools / name).write_text(f"#!/bin/sh\n{script}\n")
    (tools / name).chmod(0o755)


@pytest.mark.parametrize("command", ["kind-up", "kind-down", "rights", "deploy"])
def test_a_missing_tool_is_one_line_that_says_where_it_is_had(tools: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is not installed; see https://" in line


def test_docker_that_does_not_answer_is_told_apart_from_no_docker(tools: Path) -> None:
    put(tools, "docker", "exit 1")
    with pytest.raises(KubeError, match="Docker does not answer; start it"):
        commands.need("docker")


def test_a_cluster_that_does_not_answer_is_told_by_its_contexts_name(tools: Path) -> None:
    put(tools, "kubectl", 'case "$*" in *current-context) echo here;; version*) echo "connection refused" >&2; exit 1;; esac')
    with pytest.raises(KubeError, match=r"the context here does not answer \(connection refused\)"):
        commands.reachable()


def test_no_context_says_how_one_is_had(tools: Path) -> None:
    put(tools, "kubectl", "exit 1")
    with pytest.raises(KubeError, match="make kind-up"):
        commands.reachable()


WAYS = [
    pytest.param("kind-sky", "", "", ("kind", "load", "docker-image", "--name", "sky"), id="kind takes it from Docker"),
    pytest.param("gke", "registry.example.com/team", "", ("docker", "push"), id="a registry"),
    pytest.param("gke", "", "minikube image load", ["minikube", "image", "load"], id="a command"),
    pytest.param("gke", "", "sh 'a b/load.sh' x", ["sh", "a b/load.sh", "x"], id="a command with a blank in it"),
]


@pytest.mark.parametrize(("context", "registry", "load", "command"), WAYS)
def test_an_image_comes_to_the_cluster(context: str, registry: str, load: str, command: list[str]) -> None:
    assert list(images.way(context, registry, load)) == list(command)


def test_a_cluster_that_no_way_leads_to_is_told_with_both_that_do() -> None:
    with pytest.raises(KubeError, match=r"--registry.*--load"):
        images.way("gke", "", "")


def test_images_carry_the_projects_name_and_the_registrys(project: Project) -> None:
    assert images.repository(project, "project", "") == project.slug
    assert images.repository(project, "sky-api-server", "r.example.com/t/") == f"r.example.com/t/{project.slug}-sky-api-server"


def test_a_cluster_of_yours_wants_the_files_that_are_never_committed(project: Project) -> None:
    with pytest.raises(KubeError, match=r"worker.env is missing; cp .*worker.env.example"):
        deployment.fill_in(project, at_home=False)


def test_on_kind_the_examples_will_do_and_what_was_filled_in_stays(project: Project) -> None:
    own = project.manifests / "orchestrator"
    (own / "worker.env").write_text("MINE=1\n")
    deployment.fill_in(project, at_home=True)
    assert (own / "worker.env").read_text() == "MINE=1\n"
    assert (own / "secrets.env").read_text() == (own / "secrets.env.example").read_text()
    assert (own / "secrets.env").stat().st_mode & 0o077 == 0


def test_an_overlay_that_is_not_there_is_told_with_those_that_are(project: Project) -> None:
    with pytest.raises(KubeError, match="there are: cluster, kind"):
        deployment.chosen(project, "clutser", "gke")
    assert deployment.chosen(project, "", "kind-sky").name == "kind"
    assert deployment.chosen(project, "", "gke").name == "cluster"


@NEEDS_KUBECTL
def test_the_built_images_stand_in_every_pod_of_the_overlay(project: Project) -> None:
    deployment.fill_in(project, at_home=True)
    overlay = project.manifests / "overlays" / "kind"
    assert deployment.images_of(deployment.rendered(overlay)) == ["project", "sky-api-server"]
    built = [Image(name, f"registry.example.com/{name}", "abc") for name in images.DOCKERFILES]
    manifests = deployment.rendered(overlay, built)
    named = {container["image"] for manifest in manifests for container in deployment.containers(manifest)}
    assert {f"registry.example.com/{name}:abc" for name in images.DOCKERFILES} <= named
    assert deployment.images_of(manifests) == []


@NEEDS_KUBECTL
def test_manifests_that_do_not_fit_together_are_one_line(project: Project) -> None:
    (project.manifests / "base" / "reaper.yaml").unlink()
    deployment.fill_in(project, at_home=True)
    with pytest.raises(KubeError, match="what was changed last") as refused:
        deployment.rendered(project.manifests / "overlays" / "cluster")
    assert len(str(refused.value).splitlines()) == 1


def test_a_namespace_that_is_missing_names_the_one_command_for_an_admin(tools: Path) -> None:
    put(tools, "kubectl", "exit 0")
    with pytest.raises(KubeError, match=r"there is no namespace sky.*make kubernetes-rights"):
        deployment.look_for_namespaces([{"kind": "Service", "metadata": {"name": "s", "namespace": "sky"}}])


def test_a_namespace_that_may_not_be_looked_into_names_the_role_that_is_missing(tools: Path) -> None:
    put(tools, "kubectl", "echo 'Error: forbidden' >&2; exit 1")
    with pytest.raises(KubeError, match="forbidden; your user needs the role `edit` in the namespace sky"):
        deployment.look_for_namespaces([{"kind": "Service", "metadata": {"name": "s", "namespace": "sky"}}])


def test_an_admin_applies_namespaces_and_roles_alone(project: Project) -> None:
    folders = [folder.relative_to(project.manifests).as_posix() for folder in deployment.rights(project)]
    assert folders[:2] == ["base/namespace", "skypilot/rights"]
    for folder in deployment.rights(project):
        for path in folder.glob("*.yaml"):
            assert "kind: Deployment" not in path.read_text()


def test_kind_that_makes_no_cluster_says_what_to_do(tools: Path, project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    from kube import kind

    put(tools, "docker", "exit 0")
    put(tools, "kubectl", "exit 0")
    put(tools, "kind", 'case "$1" in get) exit 0;; *) echo "port is taken" >&2; exit 1;; esac')
    with pytest.raises(KubeError, match="make kind-down"):
        kind.up(project)
    assert "port is taken" in capfd.readouterr().err
    with pytest.raises(KubeError, match=f"there is no kind cluster {project.slug}"):
        kind.down(project)


def test_kind_up_labels_the_node_and_gives_the_rights(tools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kube import kind

    log = tmp_path / "log"
    put(tools, "docker", "exit 0")
    put(tools, "kind", f'echo "kind $*" >>{log}')
    answers = 'case "$*" in *"--output name") echo node/one;; *current-context) echo kind-x;; esac'
    put(tools, "kubectl", f'echo "kubectl $*" >>{log}; {answers}')
    kind.up(here())
    told = log.read_text()
    assert f"kind create cluster --name {here().slug} --wait 180s" in told
    assert told.count("apply --kustomize") == len(deployment.rights(here()))
    if here().gpu:
        assert f"label --overwrite node/one skypilot.co/accelerator={here().gpu.lower()}" in told
    assert "Next: make deploy-kubernetes" in capsys.readouterr().out


def test_the_makefile_runs_each_command() -> None:
    root = here().root
    makefile = (root / "kubernetes.mk").read_text()
    for command in ("kind-up", "kind-down", "rights", "deploy"):
        assert f"-m kube {command}" in makefile
    done = subprocess.run(["make", "-n", "deploy-kubernetes"], cwd=root, capture_output=True, text=True, check=True)
    assert "-m kube deploy" in done.stdout
