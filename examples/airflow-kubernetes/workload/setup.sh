#!/usr/bin/env bash
# Makes ~/.workload-venv with the packages the steps need, in a second or two; does nothing where it stands already.
set -euo pipefail

bucket=${DATA_BUCKET_URL:-${DATA_BUCKET_STORE_TYPE:-file}://}
case "${bucket,,}" in
  s3://* | r2://*) needs=s3 ;;
  gs://* | gcs://*) needs=gs ;;
  az://* | azure://* | abfs://* | abfss://*) needs=az ;;
  *) needs=file ;;
esac
requirements=$(dirname "${BASH_SOURCE[0]}")/requirements/$needs.txt
venv=$HOME/.workload-venv
if cmp -s "$requirements" "$venv/requirements.txt"; then
  echo "$venv stands already"
  exit
fi

# SkyPilot brings uv to every cluster, in ~/.local/bin, which is not always on PATH.
PATH=$PATH:$HOME/.local/bin:/usr/local/bin
if ! command -v uv >/dev/null; then
  echo "no uv here: installing it beside the venv"
  python3 -m venv "$venv-uv" && "$venv-uv/bin/python" -m pip install --quiet uv
  PATH=$PATH:$venv-uv/bin
fi
uv venv --quiet --allow-existing --no-project --python '>=3.10,<3.14' "$venv"
uv pip sync --quiet --require-hashes --python "$venv/bin/python" "$requirements"
cp "$requirements" "$venv/requirements.txt"
echo "$venv made, for $needs buckets"
