#!/bin/sh
# What the image's API server runs. The volume of its home is empty the first time, and the configuration is the ConfigMap's each time.
set -eu
mkdir -p "$HOME/.sky/api_server"
cp -a -n /opt/sky/.sky/. "$HOME/.sky/"
cp /etc/skypilot/config.yaml "$HOME/.sky/config.yaml"
exec python -m sky.server.server --host=0.0.0.0 --port=46580 "$@"
