#!/bin/sh
# The tests, with the browser's among them when there is a Chromium or one can be installed.
set -eu
cd "$(dirname "$0")/.."

find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

if ! find_chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium for the browser tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null || true
fi
if CHROMIUM=$(find_chromium); then
    export CHROMIUM
    exec python -m pytest --cov --cov-report=term --cov-fail-under=85 "$@"
fi
echo "NOT RUN: the browser tests, for want of Chromium (on Debian: apt-get install chromium)"
exec python -m pytest -m "not browser" --cov --cov-report=term "$@"
