#!/usr/bin/env bash
# The three tasks by the bare command line, in turn, a cluster each: what the pipeline is measured against.
# in_turn.sh PROJECT RUN_NAME, with SKYPILOT_API_SERVER_ENDPOINT set and `sky` on PATH.
set -euo pipefail
project=$1 run=$2
cd "$project"
for step in data_preprocessing train eval; do
  name="turn-${step:0:4}-$run"
  sky launch -y -c "$name" --infra slurm --env RUN_NAME="$run" --env DATA_BUCKET_URL="file://$project/.local/bucket" "tasks/$step.yaml"
  sky down -y "$name"
done
