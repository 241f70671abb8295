from pathlib import Path
from threading import Event, Timer

import pytest
from django.contrib.auth.models import AnonymousUser, User

from models import services
from models.models import Instance, InstanceEvent
from models.states import Desired, State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def models_path(settings: object, tmp_path: Path) -> Path:
    settings.MODELS_PATH = tmp_path
    for name, text in {
        "gemma": "parameters:\n  model: gemma.gguf\n",
        "whisper": "backend: faster-whisper\n",
        "bare": "parameters:\n  model: bare.bin\n",
        "chat": "alias: gemma\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{text}")
    return tmp_path


@pytest.fixture
def person() -> User:
    return User.objects.create_user("ada")


def test_a_load_is_a_wish_with_the_name_of_who_made_it(person: User) -> None:
    instance = services.request_load("gemma", person)
    assert (instance.desired, instance.desired_by, instance.state) == (Desired.RUNNING, "ada", State.STOPPED)
    assert InstanceEvent.objects.get().by == "ada"


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("whisper", "faster-whisper"),
        ("gemma", "llama-cpp"),  # what its file asks for
        ("bare", ""),  # nothing tells: the agent says what to do
    ],
)
def test_the_backend_is_known_before_the_agent_has_seen_the_wish(name: str, backend: str) -> None:
    assert services.request_load(name, None).backend == backend


def test_a_model_that_is_not_here_cannot_be_loaded_or_stopped() -> None:
    for request in (services.request_load, services.request_stop):
        with pytest.raises(services.ModelUnknown, match="no model named nobody"):
            request("nobody", None)
    assert not Instance.objects.exists()


def test_a_model_that_was_never_loaded_cannot_be_stopped() -> None:
    with pytest.raises(services.ModelNotLoaded, match="not loaded"):
        services.request_stop("gemma", None)


def test_two_loads_are_one_instance() -> None:
    assert services.request_load("gemma", None) == services.request_load("gemma", AnonymousUser())


def test_an_alias_means_the_model_it_stands_for() -> None:
    instance = services.request_load("chat", None)
    assert instance.name == "gemma"
    assert services.instance_for("chat") == services.instance_for("gemma") == instance
    assert services.request_stop("chat", None).desired == Desired.STOPPED


def test_a_new_wish_clears_the_failures_in_a_row() -> None:
    instance = services.request_load("gemma", None)
    Instance.objects.update(state=State.FAILED, attempt=5)
    services.request_load("gemma", None)
    instance.refresh_from_db()
    assert (instance.attempt, instance.next_try_at) == (0, None)


def test_a_model_that_is_gone_from_the_folder_can_still_be_stopped(models_path: Path) -> None:
    services.request_load("gemma", None)
    (models_path / "gemma.yaml").unlink()
    assert services.request_stop("gemma", None).desired == Desired.STOPPED


def test_waiting_ends_when_nothing_runs_any_more() -> None:
    instance = services.request_load("gemma", None)
    assert services.wait_stopped(instance, 1)


def test_waiting_ends_after_its_time_and_says_that_it_still_runs() -> None:
    instance = services.request_load("gemma", None)
    Instance.objects.update(state=State.READY)
    assert not services.wait_stopped(instance, 0.1)


def test_waiting_can_be_interrupted() -> None:
    instance = services.request_load("gemma", None)
    Instance.objects.update(state=State.READY)
    interrupted = Event()
    timer = Timer(0.1, interrupted.set)
    timer.start()
    assert not services.wait_stopped(instance, 30, interrupted)
    timer.join()
