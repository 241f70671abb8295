import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from models.models import Instance
from models.states import Desired, State
from monitor import prompts
from tests.fakes.answering_backend import AnsweringBackend

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture
def backend() -> Iterator[AnsweringBackend]:
    server = AnsweringBackend()
    yield server
    server.stop()


@pytest.fixture
def talker(db, models_path: Path, backend: AnsweringBackend) -> Instance:
    write(models_path, "known_usecases: [chat]")
    return Instance.objects.create(
        name="talker", state=State.READY, desired=Desired.RUNNING, address=backend.address, pid=1
    )


def write(models_path: Path, text: str) -> None:
    (models_path / "talker.yaml").write_text(f"name: talker\nbackend: fake\n{text}\n")


def send(client: Client, prompt: str = "Hello", **headers: str):
    return client.post(reverse("monitor:prompt", args=["talker"]), {"prompt": prompt}, headers=headers or NDJSON)


def lines(response) -> list[dict[str, str]]:
    return [json.loads(line) for line in response.getvalue().decode().splitlines() if line]


def said(parts: list[dict[str, str]]) -> str:
    return "".join(part.get("text", "") for part in parts)


def test_an_answer_comes_as_lines_of_json(talker, as_operator):
    response = send(as_operator)
    parts = lines(response)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/x-ndjson"
    assert said(parts) == "one two three"
    assert parts[-1]["figures"].startswith("3 tokens, ")
    assert "first token after" in parts[-1]["figures"]


def test_without_scripts_the_page_comes_with_the_whole_answer(talker, as_operator):
    response = send(as_operator, Accept="text/html")
    page = response.content.decode()
    assert "one two three" in page
    assert "3 tokens" in page
    assert ">Hello</textarea>" in page


def test_text_of_a_model_is_shown_as_text(talker, backend, as_operator):
    backend.pieces = [b"<script>alert(1)</script>"]
    page = send(as_operator, Accept="text/html").content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;" in page


def test_a_letter_cut_in_two_comes_whole(talker, backend, as_operator):
    whole = "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{SNOWMAN}".encode()
    backend.pieces = [whole[:4], whole[4:7], whole[7:]]
    assert said(lines(send(as_operator))) == whole.decode()


def test_a_chat_is_put_into_form_by_the_tokenizer(talker, models_path, backend, as_operator):
    write(models_path, "known_usecases: [chat]\nsystem_prompt: Be kind.\ntemplate: {chat: '{{.Input}}'}")
    lines(send(as_operator))
    asked = backend.asked[0]
    assert asked.UseTokenizerTemplate
    assert [(message.role, message.content) for message in asked.Messages] == [
        ("system", "Be kind."),
        ("user", "Hello"),
    ]


def test_a_model_that_only_completes_gets_the_bare_prompt(talker, models_path, backend, as_operator):
    write(models_path, "known_usecases: [completion]")
    lines(send(as_operator))
    assert backend.asked[0].Prompt == "Hello"
    assert not backend.asked[0].UseTokenizerTemplate


def test_when_the_reader_goes_the_engine_stops_and_the_place_is_free(talker, backend, as_operator, settings):
    backend.endless = True
    for _ in range(settings.PROMPT_STREAMS + 2):
        backend.let_go.clear()
        response = send(as_operator)
        assert b"one" in next(iter(response.streaming_content))
        response.close()
        assert backend.let_go.wait(5)


def test_a_stream_that_was_never_read_gives_its_place_back(talker, backend, as_operator, settings):
    backend.endless = True
    for _ in range(settings.PROMPT_STREAMS + 2):
        response = send(as_operator)
        assert response.status_code == 200
        response.close()


def test_a_silent_engine_still_lets_a_reader_notice(talker, backend, as_operator):
    backend.pieces, backend.endless = [], True
    response = send(as_operator)
    assert next(iter(response.streaming_content)) == b"\n"
    response.close()
    assert backend.let_go.wait(5)


def test_more_streams_than_places_answer_429_with_a_time_to_wait(talker, backend, as_operator, settings):
    backend.endless = True
    open_ones = [send(as_operator) for _ in range(settings.PROMPT_STREAMS)]
    refused = send(as_operator)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert "limit" in json.loads(refused.content)["error"]
    page = send(as_operator, Accept="text/html")
    assert page.status_code == 429
    assert "Hello</textarea>" in page.content.decode()
    for response in open_ones:
        response.close()
    backend.endless = False
    assert said(lines(send(as_operator))) == "one two three"


def test_an_answer_that_takes_too_long_is_cut_off_with_a_sentence(talker, backend, as_operator, settings):
    settings.PROMPT_SECONDS = 1
    backend.endless = True
    parts = lines(send(as_operator))
    assert said(parts) == "one two three"
    assert parts[-1] == {"error": "The answer was cut off after 1 s, the longest one may take."}
    assert backend.let_go.wait(5)


def test_an_engine_that_breaks_leaves_what_it_said_and_a_sentence(talker, backend, as_operator):
    backend.breaks = "out of memory"
    parts = lines(send(as_operator))
    assert said(parts) == "one two three"
    assert parts[-1]["error"]


def test_a_backend_that_is_gone_is_a_sentence(talker, backend, as_operator):
    backend.stop()
    assert lines(send(as_operator))[-1]["error"]


@pytest.mark.parametrize("state", [State.STOPPED, State.LOADING, State.BACKOFF, State.FAILED])
def test_a_model_that_is_not_ready_answers_409(talker, as_operator, backend, state):
    Instance.objects.update(state=state)
    response = send(as_operator)
    assert response.status_code == 409
    assert "Load it" in json.loads(response.content)["error"]
    assert backend.asked == []


@pytest.mark.parametrize(
    "prompt",
    [
        "",  # nothing typed
        "  \n ",  # nothing but blanks
        "x" * (prompts.MAX_BYTES + 1),
        "\N{SNOWMAN}" * (prompts.MAX_BYTES // 3 + 1),  # short in letters, long in bytes
    ],
)
def test_an_empty_or_too_long_prompt_answers_422(talker, as_operator, backend, prompt):
    response = send(as_operator, prompt)
    assert response.status_code == 422
    assert json.loads(response.content)["error"]
    page = send(as_operator, prompt, Accept="text/html")
    assert page.status_code == 422
    assert 'id="prompt-error"' in page.content.decode()
    assert backend.asked == []


def test_a_model_for_something_else_takes_no_prompt(talker, models_path, as_operator):
    write(models_path, "known_usecases: [transcript]")
    response = send(as_operator)
    assert response.status_code == 422
    assert "transcript" in json.loads(response.content)["error"]


def test_a_prompt_marks_the_model_as_used(talker, as_operator):
    lines(send(as_operator))
    talker.refresh_from_db()
    assert talker.last_used_at is not None


def test_a_prompt_is_never_logged(talker, backend, as_operator, caplog):
    caplog.set_level(logging.DEBUG)
    backend.breaks = "out of memory"
    lines(send(as_operator, "my-private-words"))
    send(as_operator, "my-private-words" * 3000)
    assert "my-private-words" not in caplog.text


def test_a_viewer_may_not_send_prompts(talker, as_viewer):
    assert send(as_viewer).status_code == 403


def test_a_prompt_to_nothing_is_not_found(db, models_path, as_operator):
    assert send(as_operator).status_code == 404
