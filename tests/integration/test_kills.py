"""Killing a part of the console with SIGKILL at any point loses nothing."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from tests.fakes import tiny_gguf
from tests.fakes.console import Console, query

pytestmark = pytest.mark.timeout(180)


def instance(console: Console) -> dict[str, object]:
    [row] = query(console.data, "select state, reason, pid, desired from models_instance where name = 'tiny'")
    return dict(zip(("state", "reason", "pid", "desired"), row, strict=True))


def until(true: Callable[[], object], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.2)


def alive(pid: object) -> bool:
    assert isinstance(pid, int)
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def console(tmp_path: Path):
    made = Console(tmp_path / "data")
    models = made.data / "models"
    models.mkdir(parents=True)
    tiny_gguf.write(models / "tiny.gguf")
    (models / "tiny.yaml").write_text("name: tiny\nbackend: llama-cpp\nparameters: {model: tiny.gguf}\n")
    with made:
        yield made


def load(console: Console) -> dict[str, object]:
    console.manage("shell", "-v", "0", "-c", "from models.services import request_load\nrequest_load('tiny', None)")
    until(lambda: instance(console)["state"] == "ready")
    return instance(console)


def test_a_killed_agent_comes_back_and_adopts_its_backend(console: Console) -> None:
    before = load(console)
    console.child("agent").kill()
    until(lambda: "found again" in str(instance(console)["reason"]))
    assert instance(console) | {"reason": ""} == before | {"reason": ""}


def test_after_a_crash_of_everything_the_next_start_adopts_the_backend(console: Console) -> None:
    before = load(console)
    console.kill_all()
    assert alive(before["pid"])
    console.start()
    until(lambda: "found again" in str(instance(console)["reason"]))
    assert instance(console)["pid"] == before["pid"]


def test_ctrl_c_stops_the_backends_and_the_next_start_loads_again(console: Console) -> None:
    before = load(console)
    assert console.stop() == 0
    assert not alive(before["pid"])
    console.start()
    until(lambda: instance(console)["state"] == "ready")
    assert instance(console)["pid"] != before["pid"]


def test_keep_backends_leaves_them_and_the_next_start_adopts(console: Console) -> None:
    console.stop()
    console.start("--keep-backends")
    before = load(console)
    console.stop()
    assert alive(before["pid"])
    console.start()
    until(lambda: "found again" in str(instance(console)["reason"]))
    assert instance(console)["pid"] == before["pid"]


def test_a_backend_killed_while_nobody_watched_is_named_and_loaded_again(console: Console) -> None:
    before = load(console)
    console.kill_all()
    assert isinstance(before["pid"], int)
    psutil.Process(before["pid"]).kill()
    console.start()
    until(lambda: instance(console)["state"] == "ready")
    whys = query(console.data, "select why from models_instanceevent where to_state = 'backoff'")
    assert any("gone" in str(why) for (why,) in whys)


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_killed_web_or_worker_process_is_started_again(console: Console, name: str) -> None:
    first = console.child(name)
    first.kill()
    until(lambda: any(p.pid != first.pid for p in _running(console, name)))
    until(lambda: _answers(console))


def _answers(console: Console) -> bool:
    try:
        return requests.get(console.address + "/healthz", timeout=2).status_code == 200
    except OSError:
        return False


def _running(console: Console, name: str) -> list[psutil.Process]:
    try:
        return [console.child(name)]
    except AssertionError:
        return []


def test_a_second_console_on_the_same_data_folder_is_refused(console: Console) -> None:
    second = Console(console.data)
    with pytest.raises(AssertionError, match="is in use by another `localai-admin up`"):
        second.start()


def test_a_port_in_use_is_named_with_the_way_out(console: Console, tmp_path: Path) -> None:
    second = Console(tmp_path / "other", LOCALAI_ADMIN_ADDRESS=f"127.0.0.1:{console.port}")
    with pytest.raises(AssertionError, match=f"Nothing can listen on 127.0.0.1:{console.port}.*LOCALAI_ADMIN_ADDRESS"):
        second.start()


def test_a_public_address_without_a_key_is_refused(tmp_path: Path) -> None:
    public = Console(tmp_path / "data", LOCALAI_ADMIN_ADDRESS="0.0.0.0:0")
    with pytest.raises(AssertionError, match="LOCALAI_ADMIN_SECRET_KEY"):
        public.start()


def test_a_bad_setting_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    bad = Console(tmp_path / "data", LOCALAI_ADMIN_WEB_WORKERS="many")
    with pytest.raises(AssertionError, match="LOCALAI_ADMIN_WEB_WORKERS is 'many'; it takes a whole number"):
        bad.start()


def test_stopping_twice_is_harmless(console: Console) -> None:
    assert console.stop(signal.SIGTERM) == 0
    assert console.stop() == 0
