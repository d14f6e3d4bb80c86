"""The fields of a SkyPilot task file and what each may hold, so that a mistake is told before SkyPilot is imported.

Kept equal to SkyPilot's own schema (sky.utils.schemas) by a test. What lies deeper is SkyPilot's to check.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

Kinds = tuple[type, ...]
_NONE = type(None)

TASK: Mapping[str, Kinds] = {
    "name": (str,),
    "workdir": (str, dict),
    "event_callback": (str,),
    "num_nodes": (int,),
    "resources": (dict,),
    "file_mounts": (dict,),
    "service": (dict,),
    "pool": (dict,),
    "setup": (str,),
    "run": (str,),
    "envs": (dict,),
    "secrets": (dict, list),
    "managed_secrets": (list,),
    "inputs": (dict,),
    "outputs": (dict,),
    "file_mounts_mapping": (dict,),
    "config": (dict,),
    "volumes": (dict,),
    "volume_mounts": (list,),
    "api_server_access": (bool,),
    "_metadata": (dict,),
}

ONE_RESOURCE: Mapping[str, Kinds] = {
    "cloud": (str,),
    "region": (str,),
    "zone": (str,),
    "infra": (str,),
    "cpus": (str, int, float),
    "memory": (str, int, float),
    "accelerators": (str, dict),
    "instance_type": (str,),
    "use_spot": (bool,),
    "job_recovery": (str, dict),
    "volumes": (list,),
    "disk_size": (str, int),
    "ephemeral_storage": (str, int),
    "disk_tier": (str,),
    "network_tier": (str,),
    "local_disk": (str,),
    "max_hourly_cost": (int, float),
    "ports": (str, int, list, _NONE),
    "labels": (dict,),
    "accelerator_args": (dict,),
    "_no_missing_accel_warnings": (bool,),
    "image_id": (str, dict, _NONE),
    "autostop": (bool, int, str, dict),
    "priority": (int,),
    "priority_class": (str,),
    "_docker_login_config": (dict,),
    "_is_image_managed": (bool,),
    "_requires_fuse": (bool,),
    "_cluster_config_overrides": (dict,),
}

RESOURCES: Mapping[str, Kinds] = {**ONE_RESOURCE, "accelerators": (str, dict, list), "any_of": (list,), "ordered": (list,)}

CLOUDS = (
    *("aws", "azure", "gcp", "ibm", "lambda", "scp", "oci", "kubernetes", "runpod", "vast", "vsphere", "cudo", "fluidstack"),
    *("paperspace", "primeintellect", "do", "nebius", "ssh", "slurm", "hyperbolic", "seeweb", "shadeform", "yotta", "mithril", "verda"),
)

_SAID: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
    _NONE: "nothing",
}


def said(kinds: Iterable[type]) -> str:
    """The kinds in words: `text or a mapping`."""
    return " or ".join(_SAID.get(kind, kind.__name__) for kind in kinds if kind is not _NONE)


def kind_said(value: object) -> str:
    kind: type = type(value)
    return _SAID.get(kind, f"a {kind.__name__}")


def fits(value: object, kinds: Kinds) -> bool:
    # True and False are ints to Python, and no number to SkyPilot.
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def nearest(name: str, known: Iterable[str]) -> str:
    """What an unknown field was probably meant to be, as the cure in an error."""
    public = sorted(field for field in known if not field.startswith("_"))
    close = difflib.get_close_matches(name.lower(), public, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else f"it would be one of {', '.join(public)}"


def infra_problem(infra: str) -> str | None:
    """What is wrong with an `infra`, with what would be right; or None. It is `cloud[/region[/zone]]` or `k8s[/context]`."""
    cloud, _, rest = infra.partition("/")
    if re.search(r"\s", infra):
        return "it holds a space; it would be right as aws/us-east-1, gcp, k8s or slurm/cluster"
    if cloud.lower() in ("kubernetes", "k8s"):
        return None if rest or "/" not in infra else "the context after the / is missing"
    if cloud != "*" and cloud.lower() not in CLOUDS:
        close = difflib.get_close_matches(cloud.lower(), ("k8s", *CLOUDS), n=1, cutoff=0.5)
        return f"no such cloud; did you mean `{close[0]}`?" if close else f"no such cloud; it would be one of k8s, {', '.join(CLOUDS)}"
    parts = infra.split("/")
    return None if len(parts) <= 3 and all(parts) else "it would be right as cloud, cloud/region or cloud/region/zone"
