"""A project's settings: where they stand, which comes first, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sky_orchestrate import dotenv
from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import DEFAULT_ENDPOINT, Settings, load_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "my-project"\n')
    return tmp_path


def settings(root: Path, environ: dict[str, str] | None = None, *, env: str = "", tool: str = "", local: str = "") -> Settings:
    if env:
        (root / ".env").write_text(env, encoding="utf-8")
    if tool:
        (root / "pyproject.toml").write_text(f'[project]\nname = "my-project"\n[tool.sky-orchestrate]\n{tool}\n')
    if local:
        (root / ".local").mkdir(exist_ok=True)
        (root / ".local" / "env").write_text(local)
    return load_settings(environ or {}, root=root)


def test_a_project_needs_no_setting_at_all(root: Path) -> None:
    found = settings(root)
    assert found == Settings(root=root, slug="my-project", owner="my-project", endpoint=DEFAULT_ENDPOINT)
    assert (found.infra, found.bucket, found.local, found.idle_minutes) == (None, "", False, 10)


def test_a_container_that_holds_the_code_alone_is_a_project(tmp_path: Path) -> None:
    assert load_settings({}, root=tmp_path).slug == tmp_path.name


def test_the_environment_comes_before_dot_env_and_that_before_pyproject(root: Path) -> None:
    found = settings(
        root,
        {"SKY_ORCHESTRATE_IDLE_MINUTES": "1"},
        env="SKY_ORCHESTRATE_IDLE_MINUTES=2\nSKY_ORCHESTRATE_LAUNCHES=2\n",
        tool="idle_minutes = 3\nlaunches = 3\nlog_streams = 3",
    )
    assert (found.idle_minutes, found.launches, found.log_streams) == (1, 2, 3)


def test_an_empty_variable_is_as_if_it_were_not_there(root: Path) -> None:
    assert settings(root, {"SKY_ORCHESTRATE_OWNER": ""}, env="SKY_ORCHESTRATE_OWNER=team\n").owner == "team"


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("SKYPILOT_API_SERVER_ENDPOINT", "127.0.0.1:46580", "http(s)://host:port"),
        ("SKYPILOT_API_SERVER_ENDPOINT", "ftp://host", "http(s)://host:port"),
        ("SKYPILOT_API_SERVER_ENDPOINT", "http://", "http(s)://host:port"),
        ("SKYPILOT_API_SERVER_ENDPOINT", "http://host:99999", "port"),
        ("SKYPILOT_API_SERVER_ENDPOINT", "http://host:port", "port"),
        ("SKYPILOT_API_SERVER_ENDPOINT", "http://[::1", "http://127.0.0.1:46580"),
        ("SKYPILOT_API_SERVER_ENDPOINT", "http://host/?token=1", "http(s)://host:port"),
        ("SKY_ORCHESTRATE_INFRA", "awss", "did you mean `aws`"),
        ("SKY_ORCHESTRATE_INFRA", "aws/", "cloud/region"),
        ("SKY_ORCHESTRATE_INFRA", "local", "make local-up"),
        ("SKY_ORCHESTRATE_IDLE_MINUTES", "0", "1 to 1440"),
        ("SKY_ORCHESTRATE_IDLE_MINUTES", "ten", "1 to 1440"),
        ("SKY_ORCHESTRATE_LOG_STREAMS", "-1", "0 to 128"),
        ("SKY_ORCHESTRATE_LAUNCHES", "0", "1 to 128"),
        ("SKY_ORCHESTRATE_REAPER_GRACE", "soon", "seconds"),
        ("DATA_BUCKET_URL", "my-bucket", "s3://"),
        ("DATA_BUCKET_URL", "http://bucket", "s3://"),
        ("DATA_BUCKET_URL", "s3://", "s3://my-bucket"),
        ("DATA_BUCKET_URL", "file://folder", "file:///"),
        ("DATA_BUCKET_NAME", "s3://bucket", "bare name"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable_and_what_is_right(root: Path, name: str, value: str, right: str) -> None:
    with pytest.raises(SettingsError) as told:
        settings(root, {name: value})
    assert name in str(told.value)
    assert right in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SKYPILOT_API_SERVER_ENDPOINT", "https://user:hunter2@sky.example.org"),
        ("SKYPILOT_API_SERVER_ENDPOINT", "https://hunter2@sky.example.org:0"),
        ("DATA_BUCKET_URL", "s3://key:hunter2@bucket"),
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(root: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as told:
        settings(root, {name: value})
    assert "credentials" in str(told.value)
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("infra", ["k8s", "k8s/my/context", "aws", "AWS/us-east-1", "gcp/us-central1/us-central1-a", "slurm/cluster", "*"])
def test_infra_is_written_as_skypilot_has_it(root: Path, infra: str) -> None:
    assert settings(root, {"SKY_ORCHESTRATE_INFRA": infra}).infra == infra


def test_another_endpoint_is_checked_as_the_first_was(root: Path) -> None:
    here = settings(root)
    assert here.at("https://sky.example.org/").endpoint == "https://sky.example.org"
    assert here.at(None) is here
    with pytest.raises(SettingsError, match="api_server_endpoint"):
        here.at("sky.example.org")


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"DATA_BUCKET_URL": "s3://bucket/folder/"}, "s3://bucket/folder"),
        ({"DATA_BUCKET_NAME": "bucket"}, "s3://bucket"),
        ({"DATA_BUCKET_NAME": "bucket", "DATA_BUCKET_STORE_TYPE": "GCS"}, "gs://bucket"),
        ({"DATA_BUCKET_URL": "az://one", "DATA_BUCKET_NAME": "two"}, "az://one"),
        ({"DATA_BUCKET_URL": "file:///data with space"}, "file:///data with space"),
    ],
)
def test_the_bucket_is_a_url_or_the_guides_name_and_store_type(root: Path, environ: dict[str, str], url: str) -> None:
    assert settings(root, environ).bucket == url


LOCAL = "SKYPILOT_API_SERVER_ENDPOINT=http://127.0.0.1:46600\nSKY_ORCHESTRATE_INFRA=slurm/local\nSKY_ORCHESTRATE_LOCAL=1\n"


@pytest.mark.parametrize("infra", ["local", "slurm", "slurm/local"])
def test_the_local_skypilot_is_one_line_of_dot_env(root: Path, infra: str) -> None:
    found = settings(root, env=f"SKYPILOT_API_SERVER_ENDPOINT=http://127.0.0.1:46580\nSKY_ORCHESTRATE_INFRA={infra}\n", local=LOCAL)
    assert (found.endpoint, found.infra, found.local) == ("http://127.0.0.1:46600", "slurm/local", True)
    assert found.local_bucket == f"file://{root}/.local/bucket"


def test_a_local_skypilot_that_is_up_does_not_take_another_infras_runs(root: Path) -> None:
    found = settings(root, env="SKY_ORCHESTRATE_INFRA=aws\n", local=LOCAL)
    assert (found.endpoint, found.infra, found.local) == (DEFAULT_ENDPOINT, "aws", False)


def test_the_companys_slurm_is_not_the_local_one(root: Path) -> None:
    env = "SKY_ORCHESTRATE_INFRA=slurm\nSKYPILOT_API_SERVER_ENDPOINT=https://sky.example.org\n"
    found = settings(root, env=env, local=LOCAL)
    assert (found.endpoint, found.infra, found.local) == ("https://sky.example.org", "slurm", False)


def test_what_local_up_wrote_may_as_well_be_exported(root: Path) -> None:
    found = settings(root, dotenv.parse(LOCAL, "env"))
    assert (found.endpoint, found.local) == ("http://127.0.0.1:46600", True)


def test_tokens_of_dot_env_are_found_and_never_shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYPILOT_SERVICE_ACCOUNT_TOKEN", raising=False)
    found = settings(root, env="SKYPILOT_SERVICE_ACCOUNT_TOKEN=sky_hunter2\n")
    assert found.variable("SKYPILOT_SERVICE_ACCOUNT_TOKEN") == "sky_hunter2"
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("  export NAME = spaced value  ", "spaced value"),
        ("NAME=value # a comment", "value"),
        ("NAME=value#no-comment", "value#no-comment"),
        ("NAME=# nothing", ""),
        ("NAME=", ""),
        ("NAME='as $it \\n stands # here' # but not here", "as $it \\n stands # here"),
        (r'NAME="two\nlines \"quoted\" \\"', 'two\nlines "quoted" \\'),
        ("NAME=Größe 模型", "Größe 模型"),
        ("NAME=a=b==", "a=b=="),
        ("\ufeffNAME=behind a byte order mark", "behind a byte order mark"),
        ("NAME=first\r\nNAME=second\r\n", "second"),
        ("# a comment\n\nNAME=x", "x"),
        ("NAME=with $DOLLAR and `command`", "with $DOLLAR and `command`"),
    ],
)
def test_a_line_of_dot_env(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / ".env").write_bytes(line.encode())
    assert dotenv.read(tmp_path / ".env") == {"NAME": value}


@pytest.mark.parametrize(
    "line", ["hunter2", "1NAME=hunter2", "NA ME=hunter2", "NAME='hunter2", 'NAME="hunter2" more', "NAME: hunter2", "=hunter2"]
)
def test_a_line_that_cannot_be_read_is_told_by_its_number_without_its_value(line: str) -> None:
    with pytest.raises(SettingsError, match="line 2") as told:
        dotenv.parse(f"A=1\n{line}\n", ".env")
    assert "hunter2" not in str(told.value)


def test_a_dot_env_that_is_no_text_is_one_line(root: Path) -> None:
    (root / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        load_settings({}, root=root)


def test_a_broken_pyproject_is_one_line(root: Path) -> None:
    (root / "pyproject.toml").write_text("[project\n")
    with pytest.raises(SettingsError, match=r"pyproject\.toml"):
        load_settings({}, root=root)
