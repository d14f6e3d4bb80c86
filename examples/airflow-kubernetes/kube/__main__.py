"""`python -m kube kind-up|kind-down|rights|deploy`: what the make targets of the same names run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kube import deployment, kind
from kube.commands import KubeError
from kube.project import here
from sky_orchestrate.errors import SkyOrchestrateError


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        project = here()
        if options.command == "kind-up":
            kind.up(project)
        elif options.command == "kind-down":
            kind.down(project)
        elif options.command == "rights":
            deployment.give_rights(project)
        else:
            deployment.deploy(project, overlay=options.overlay, registry=options.registry, load=options.load, within=options.within)
    except (KubeError, SkyOrchestrateError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kube", description=__doc__)
    kinds = parser.add_subparsers(dest="command", required=True)
    kinds.add_parser("kind-up", help="a cluster in Docker on this machine, with the project's namespaces and rights")
    kinds.add_parser("kind-down", help="remove it")
    kinds.add_parser("rights", help="make the project's namespaces and roles; this alone takes a cluster admin")
    deploy = kinds.add_parser("deploy", help="build the images, bring them to the cluster, apply an overlay and wait until all is ready")
    deploy.add_argument("--overlay", default="", metavar="NAME", help="a folder of manifests/overlays (default: kind there, else cluster)")
    deploy.add_argument("--registry", default="", metavar="NAME", help="where images are pushed, such as registry.example.com/team")
    deploy.add_argument("--load", default="", metavar="COMMAND", help="copies an image to the nodes instead, such as 'minikube image load'")
    deploy.add_argument("--within", type=float, default=600, metavar="SECONDS", help="how long all may take to be ready (default: 600)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
