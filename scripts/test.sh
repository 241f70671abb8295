#!/bin/sh
# The tests, with those among them that need a Chromium, a registry, or PostgreSQL, when it is here or can be installed.
set -eu
cd "$(dirname "$0")/.."
# The tests start hundreds of processes: each would compile the whole console anew.
unset PYTHONDONTWRITEBYTECODE

find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
find_registry() { command -v docker-registry && command -v openssl; }
find_postgres() { ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null || command -v initdb; }
install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    echo "Installing $1"
    shift
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null || true
}

find_chromium >/dev/null || install "Chromium for the browser tests" chromium fonts-dejavu-core
find_registry >/dev/null || install "docker-registry for the tests of registries" docker-registry openssl
find_postgres >/dev/null || install "PostgreSQL for the tests that run on it" postgresql

LEFT_OUT=
if CHROMIUM=$(find_chromium); then
    export CHROMIUM
else
    echo "NOT RUN: the browser tests, for want of Chromium (on Debian: apt-get install chromium)"
    LEFT_OUT="not browser"
fi
if ! find_registry >/dev/null; then
    echo "NOT RUN: the tests of registries, for want of docker-registry (on Debian: apt-get install docker-registry openssl)"
    LEFT_OUT="${LEFT_OUT:+$LEFT_OUT and }not registry"
fi
if ! find_postgres >/dev/null; then
    echo "NOT RUN: the tests on PostgreSQL, for want of it (on Debian: apt-get install postgresql)"
    LEFT_OUT="${LEFT_OUT:+$LEFT_OUT and }not postgres"
fi
if [ "$#" -gt 0 ]; then
    exec python -m pytest "$@"
fi
# More processes than cores: most tests of whole consoles wait more than they work. A file's tests stay together.
exec python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=15 \
    ${LEFT_OUT:+-m "$LEFT_OUT"} ${COVERAGE:+--cov --cov-report=term --cov-fail-under=85}
