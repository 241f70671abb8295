#!/bin/sh
# Make the lock files anew from pyproject.toml (needs uv). Pins with hashes, no index addresses.
set -eu
cd "$(dirname "$0")/.."
compile() { uv pip compile --quiet --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url pyproject.toml "$@"; }
compile --extra postgres --group build --group llama --group dev -o requirements-dev.lock
compile --group build --group llama -c requirements-dev.lock -o requirements.lock
