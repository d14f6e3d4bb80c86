"""What a valid answer is. A Jinja extension asks at the prompt, and once more where the project's folder gets its name.

An answer that is refused ends the run with one line that says what would be right, before any folder exists: a hook that fails
comes too late, for cookiecutter then removes the folder it thinks it made, which is another one where the slug holds `..`.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from jinja2 import Environment
from jinja2.ext import Extension

QUESTIONS = ("project_name", "project_slug", "orchestrator", "infra", "accelerator", "api_server_endpoint", "data_bucket_url")
ORCHESTRATORS = ("prefect", "temporal", "airflow", "airflow-kubernetes")
CLOUDS = (
    *("aws", "azure", "cudo", "do", "fluidstack", "gcp", "hyperbolic", "ibm", "k8s", "kubernetes", "lambda", "mithril", "nebius", "oci"),
    *("paperspace", "primeintellect", "runpod", "scp", "seeweb", "shadeform", "slurm", "ssh", "vast", "verda", "vsphere", "yotta"),
)
DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
GPU_TABLE = Path(__file__).resolve().parent / "accelerators.csv"
PROJECT_FOLDER = "{{cookiecutter.project_slug}}"


class Refused(Exception):
    """An answer is not valid; the text is one line."""


def refuse(question: str, problem: str) -> NoReturn:
    raise Refused(f"{question}: {problem}")


def shown(answer: str) -> str:
    """The answer as it can be told in one line of any terminal."""
    return repr(answer if len(answer) <= 60 else f"{answer[:57]}...").encode("utf-8", "backslashreplace").decode()


def check_project_name(name: str) -> None:
    if not name.strip():
        refuse("project_name", "is empty; give the project a name, for example Sky Train Pipeline")
    if len(name) > 80:
        refuse("project_name", f"has {len(name)} characters; at most 80 are allowed")
    if odd := next((character for character in name if _is_control(character)), None):
        refuse("project_name", f"holds the control character U+{ord(odd):04X}; use printable characters only")


def _is_control(character: str) -> bool:
    """Controls, lone surrogates, line separators and what turns the direction of the text around it; not the joiners that scripts need."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Cn", "Co", "Zl", "Zp") or (category == "Cf" and character not in "\u200c\u200d\u00ad")


def check_project_slug(slug: str) -> None:
    right = "use lower case letters, digits and hyphens, a letter first, no hyphen last, 2 to 40 characters"
    if not re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", slug, re.ASCII) or len(slug) > 40:
        refuse("project_slug", f"{shown(slug)} cannot be a folder's name here; {right}")
    if slug in DEVICE_NAMES:
        refuse("project_slug", f"{shown(slug)} is a device on Windows; choose another name, for example {slug}-pipeline")


def slugified(name: object) -> str:
    """A valid slug for any name."""
    plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not re.match(r"[a-z].", slug) or slug in DEVICE_NAMES:
        slug = f"sky-{slug}" if slug else "sky-train-pipeline"
    return slug[:40].strip("-")


def check_orchestrator(orchestrator: str) -> None:
    if orchestrator not in ORCHESTRATORS:
        *others, last = ORCHESTRATORS
        refuse("orchestrator", f"{shown(orchestrator)} is not in this version; choose {', '.join(others)} or {last}")


def check_infra(infra: str) -> None:
    example = "write it as SkyPilot does: k8s, k8s/context, aws/us-east-1, gcp or slurm/cluster"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]*", infra, re.ASCII) or len(infra) > 200:
        refuse("infra", f"{shown(infra)} is no infra; {example}")
    cloud, *places = infra.split("/")
    if cloud.lower() not in CLOUDS:
        nearest = difflib.get_close_matches(cloud.lower(), CLOUDS, n=1)
        refuse("infra", f"{shown(cloud)} is no cloud that SkyPilot knows; {f'did you mean {nearest[0]}?' if nearest else example}")
    if "" in places:
        refuse("infra", f"{shown(infra)} has an empty part; {example}")
    if len(places) > 2 and cloud.lower() not in ("k8s", "kubernetes", "ssh"):
        refuse("infra", f"{shown(infra)} has too many parts; cloud/region/zone at most")


def check_accelerator(accelerator: str, infra: str) -> None:
    if accelerator == "none":
        return
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9 ._-]{0,39}):([1-9][0-9]{0,2})", accelerator, re.ASCII)
    if not match or match[1] != match[1].strip():
        refuse("accelerator", f"{shown(accelerator)} is not NAME:COUNT, like H100:1, or none")
    cloud, clouds_of = _cloud(infra), gpu_table()
    if not any(cloud in clouds for clouds in clouds_of.values()):
        return
    gpu, nearest = _in_table(match[1], clouds_of)
    if gpu is None:
        refuse("accelerator", f"{shown(match[1])} is no GPU of SkyPilot's table; did you mean {nearest}?")
    if cloud not in clouds_of[gpu]:
        refuse("accelerator", f"{gpu} is not to be had on {cloud}, but on {', '.join(sorted(clouds_of[gpu]))}")


def accelerator_warning(accelerator: str, infra: str) -> str | None:
    """What to say of a GPU that is in no table, where the infra (k8s, slurm) may have names of its own."""
    gpu, nearest = _in_table(accelerator.split(":")[0], gpu_table())
    if accelerator == "none" or gpu:
        return None
    hint = f"{shown(accelerator)} is no GPU of SkyPilot's table; did you mean {nearest}?"
    return f"{hint} It is kept, for {_cloud(infra)} may have names of its own."


def _cloud(infra: str) -> str:
    return infra.split("/")[0].lower()


def _in_table(name: str, clouds_of: Mapping[str, frozenset[str]]) -> tuple[str | None, str]:
    """The table's spelling of a GPU's name, and the nearest name there is."""
    known = {gpu.lower(): gpu for gpu in clouds_of}
    plain = re.sub(r"^(tpu-v\w+)-\d+$", r"\1", name.lower())
    nearest = difflib.get_close_matches(plain, known, n=1, cutoff=0.4)
    return known.get(plain), known[nearest[0]] if nearest else "H100"


def gpu_table() -> dict[str, frozenset[str]]:
    """GPU name -> the clouds that have it; `make accelerators` renews the file."""
    with GPU_TABLE.open(newline="", encoding="utf-8") as table:
        return {row["accelerator"]: frozenset(row["clouds"].split()) for row in csv.DictReader(table)}


def check_api_server_endpoint(endpoint: str) -> None:
    right = "write http://HOST:PORT or https://HOST"
    if "@" in endpoint:
        refuse("api_server_endpoint", f"holds credentials; {right}, and keep the token in the environment (SKYPILOT_SERVICE_ACCOUNT_TOKEN)")
    if (
        not re.fullmatch(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]*)?(/[A-Za-z0-9._~/-]*)?", endpoint, re.ASCII)
        or len(endpoint) > 300
    ):
        refuse("api_server_endpoint", f"{shown(endpoint)} is no address of an API server; {right}")
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not re.search(r"[A-Za-z0-9]", host) or port == 0:
        refuse("api_server_endpoint", f"{shown(endpoint)} has no valid host and port; {right}")


def check_data_bucket_url(url: str) -> None:
    if not url:
        return
    right = "write s3://bucket, gs://bucket, az://container, r2://bucket, file:///folder, or leave it empty"
    if "@" in url:
        refuse("data_bucket_url", f"holds credentials; {right}, and keep the keys where the cloud's own tools read them")
    bucket = re.fullmatch(r"(s3|gs|az|r2)://[A-Za-z0-9][A-Za-z0-9._-]{1,200}(/[A-Za-z0-9._=+-]+)*/?", url, re.ASCII)
    folder = re.fullmatch(r"file://(/[A-Za-z0-9._=+-]+)+/?", url, re.ASCII)
    if not (bucket or folder) or ".." in url.split("/") or len(url) > 300:
        refuse("data_bucket_url", f"{shown(url)} is no bucket; {right}")


CHECKS: Mapping[str, Callable[..., None]] = {question: globals()[f"check_{question}"] for question in QUESTIONS}


def check(answer: object, question: str, *context: object) -> str:
    """The answer as it came, or Refused."""
    if not isinstance(answer, str):
        refuse(question, "must be text")
    CHECKS[question](answer, *map(str, context))
    return answer


def inside_quotes(text: object) -> str:
    """Text as the inside of a double-quoted string of TOML, YAML, JSON or Python."""
    return json.dumps(str(text), ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def markdown(text: object) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-!|~&$:@^=.])", r"\\\1", " ".join(str(text).split()))


def template_source(template: object) -> str:
    """Where the template can be had again, for `make upgrade`; empty for a folder of this machine, and never with credentials."""
    remote = re.fullmatch(r"(?:[a-z]{2,8}:|git@|(?:https?|ssh|git)://)(?!/)\S+", str(template), re.ASCII)
    return re.sub(r"(https?://)[^/\s]*@|(://[^/:@\s]*):[^/@\s]*(?=@)", r"\1\2", remote[0]) if remote else ""


class Answers(Extension):
    """Gives cookiecutter's templates the filters of this module."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        filters: dict[str, Any] = environment.filters
        filters["check"] = _check_at_prompt
        filters["check_all"] = _check_for_folder
        filters["slugified"] = slugified
        filters["toml"] = inside_quotes
        filters["markdown"] = markdown
        filters["template_source"] = template_source

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002  # Jinja's signature
        """The second wall, for answers that no prompt saw, as in a replay file written by hand."""
        return "{{ cookiecutter | check_all }}" if source == PROJECT_FOLDER else source


def _check_at_prompt(answer: object, question: str, *context: object) -> str:
    with _ending_the_run():
        text = check(answer, question, *context)
    if question == "accelerator" and (warning := accelerator_warning(text, *map(str, context))):
        print(f"warning: accelerator: {warning}", file=sys.stderr)
    return text


def _check_for_folder(answers: Mapping[str, Any]) -> str:
    with _ending_the_run():
        for question in QUESTIONS:
            check(answers.get(question), question, *([answers.get("infra")] if question == "accelerator" else []))
    return answers["project_slug"]


@contextmanager
def _ending_the_run() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        from cookiecutter.exceptions import FailedHookException

        raise FailedHookException(str(refused)) from None
