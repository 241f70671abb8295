#!/bin/sh
# Starts the backend: run.sh --addr host:port
set -eu
cd "$(dirname "$0")"
if [ -x venv/bin/python ]; then
    python=venv/bin/python
else
    python=${LOCALAI_BACKEND_PYTHON:-python3}
fi
exec "$python" server.py "$@"
