#!/bin/sh
# Run uv: the one on PATH, else one put into .uv/ of the current folder. Needs only a shell and Python 3.10 or newer.
#   uv.sh ARGUMENTS...     like `uv ARGUMENTS...`
#   uv.sh --python         the interpreter that environments are made of, or one line saying what is missing
set -eu
VERSION=0.13.8

fail() { echo "error: $*" >&2; exit 1; }

python() {
  for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python3.10; do
    "$name" -c 'import sys; assert sys.version_info >= (3, 10); print(sys.executable)' 2>/dev/null && return
  done
  fail "Python 3.10 or newer is needed, and $(python3 --version 2>&1 || true) is here: install one, or name it with PYTHON=/path/to/python3"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; return; fi
  command -v sudo >/dev/null || return 1
  if [ -t 0 ]; then sudo "$@"; else sudo -n "$@" 2>/dev/null; fi
}

install_venv_package() {
  command -v apt-get >/dev/null || return 1
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"; } >/dev/null 2>&1
}

bootstrap() {
  interpreter=$(python)
  echo "no uv on PATH: putting uv $VERSION into .uv/" >&2
  if ! "$interpreter" -c 'import ensurepip, venv' 2>/dev/null; then
    install_venv_package "$interpreter" || fail "uv is not here and neither is Python's venv module: run 'sudo apt-get install python3-venv', or install uv"
  fi
  rm -rf .uv.new && "$interpreter" -m venv .uv.new >/dev/null || fail "$interpreter cannot make a virtual environment: run 'sudo apt-get install python3-venv', or install uv"
  .uv.new/bin/python -m pip install -q --disable-pip-version-check "uv==$VERSION" || fail "uv $VERSION could not be installed with pip: is there a network?"
  rm -rf .uv && mkdir -p .uv/bin && cp .uv.new/bin/uv .uv/bin/uv && rm -rf .uv.new
}

# Certificates of the system, so that it works behind a company's proxy too; the second name is the one of older versions.
export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1} UV_NATIVE_TLS=${UV_NATIVE_TLS:-1} UV_NO_PROGRESS=${UV_NO_PROGRESS:-1}

if [ "${1:-}" = --python ]; then python; exit; fi
if uv --version >/dev/null 2>&1; then exec uv "$@"; fi
[ -x .uv/bin/uv ] || bootstrap
exec .uv/bin/uv "$@"
