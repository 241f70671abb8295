#!/bin/sh
exec "${LOCALAI_BACKEND_PYTHON:-python3}" "$(dirname "$0")/../../backend_server.py" slow-load "$@"
