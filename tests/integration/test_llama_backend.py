"""The llama.cpp backend as a caller meets it: the real run.sh, the real engine, a tiny real model."""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest

from models.backend.client import BackendClient
from models.backend.errors import BackendError, CallFailed, LoadRefused
from models.backend.options import predict_options
from models.backend.proto import backend_pb2, backend_pb2_grpc
from tests.fakes import tiny_gguf
from tests.fakes.llama_backend import LlamaBackend, free_port, spawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a tiny model, and one whose answers take long."""
    folder = tmp_path_factory.mktemp("models")
    tiny_gguf.write(folder / "tiny.gguf")
    tiny_gguf.write(folder / "long.gguf", context=65536)
    return folder


@pytest.fixture(scope="module")
def shared(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaBackend]:
    """A backend with the tiny model loaded, for tests that leave it as it is."""
    with LlamaBackend(tmp_path_factory.mktemp("log") / "log") as backend:
        backend.load(folder / "tiny.gguf", context_size=512)
        yield backend


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LlamaBackend]:
    with LlamaBackend(tmp_path / "log") as backend:
        yield backend


def config(model: str = "tiny.gguf", **parameters: object) -> dict[str, object]:
    return {"parameters": {"model": model, "max_tokens": 8, "seed": 1, "ignore_eos": True, **parameters}}


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def slowest(ask: Callable[[], object], times: int = 10) -> float:
    """Seconds the slowest of these took."""
    spent = []
    for _ in range(times):
        began = time.monotonic()
        ask()
        spent.append(time.monotonic() - began)
    return max(spent)


# Answers


def test_a_prediction_has_text_tokens_and_times(shared: LlamaBackend) -> None:
    answer = shared.client.predict(predict_options(config(), "ba be"), 10)
    assert answer.text
    assert (answer.tokens, answer.prompt_tokens) == (8, 3)
    assert answer.prompt_ms > 0
    assert answer.generation_ms > 0


def test_the_same_seed_gives_the_same_text_whole_or_in_pieces(shared: LlamaBackend) -> None:
    options = predict_options(config(), "ba be")
    whole = shared.client.predict(options, 10).text
    with shared.client.predict_stream(options, 10) as stream:
        pieces = list(stream)
    assert "".join(piece.text for piece in pieces) == whole
    assert len(pieces) > 2
    assert pieces[-1].tokens == 8
    assert pieces[-1].generation_ms > 0


def test_a_conversation_is_put_into_the_models_own_form(shared: LlamaBackend) -> None:
    bare = shared.client.predict(predict_options(config(), "<|user|>hi\n<|assistant|>"), 10)
    talk = shared.client.predict(predict_options(config(), messages=[("user", "hi")]), 10)
    assert talk.text == bare.text
    assert talk.prompt_tokens == bare.prompt_tokens > len("hi")


def test_a_model_that_was_taught_no_form_goes_on_with_a_plain_transcript(backend: LlamaBackend, tmp_path: Path) -> None:
    backend.load(tiny_gguf.write(tmp_path / "tiny.gguf", template=""))
    bare = backend.client.predict(predict_options(config(), "System: be brief\nUser: hi\nAssistant:"), 10)
    talk = backend.client.predict(predict_options(config(), messages=[("system", "be brief"), ("user", "hi")]), 10)
    assert talk.text == bare.text


def test_text_becomes_tokens_and_tokens_become_text(shared: LlamaBackend) -> None:
    tokens = shared.client.tokenize("ba be", 5)
    assert len(tokens) == 2
    with grpc.insecure_channel(shared.address) as channel:
        request = backend_pb2.DetokenizeRequest(tokens=tokens)
        assert backend_pb2_grpc.BackendStub(channel).Detokenize(request, timeout=5).content.strip() == "ba be"


def test_metrics_are_those_of_the_last_answer(backend: LlamaBackend, folder: Path) -> None:
    backend.load(folder / "tiny.gguf")
    assert backend.client.metrics(5).tokens_generated == 0
    backend.client.predict(predict_options(config(max_tokens=5), "ba be"), 10)
    metrics = backend.client.metrics(5)
    assert (metrics.tokens_generated, metrics.prompt_tokens) == (5, 3)
    assert metrics.tokens_per_second > 0


def test_embeddings_come_from_a_model_that_was_loaded_for_them(backend: LlamaBackend, folder: Path) -> None:
    backend.load(folder / "tiny.gguf", embeddings=True)
    first, again, other = (
        backend.client.embedding(predict_options(config(), text), 10) for text in ("ba be", "ba be", "zu")
    )
    assert len(first) == 64
    assert first == pytest.approx(again)
    assert first != pytest.approx(other)


def test_embeddings_of_a_model_that_was_loaded_for_text_are_refused(shared: LlamaBackend) -> None:
    with pytest.raises(CallFailed, match="embeddings: true"):
        shared.client.embedding(predict_options(config(), "x"), 10)


def test_a_prompt_that_does_not_fit_is_refused_with_the_reason(shared: LlamaBackend) -> None:
    with pytest.raises(CallFailed, match="context size") as refused:
        shared.client.predict(predict_options(config(), "x" * 3000), 10)
    assert refused.value.code == "INVALID_ARGUMENT"


def test_a_request_for_another_model_is_refused(shared: LlamaBackend) -> None:
    with pytest.raises(CallFailed, match="model identity mismatch") as refused:
        shared.client.predict(predict_options(config("other.gguf"), "x"), 10)
    assert refused.value.code == "NOT_FOUND"


def test_requests_at_once_all_get_their_answer(shared: LlamaBackend) -> None:
    options = predict_options(config(), "ba be")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shared.client.predict(options, 30), range(8)))
    assert {answer.tokens for answer in answers} == {8}


def test_several_answers_are_made_at_once_when_the_model_says_so(backend: LlamaBackend, folder: Path) -> None:
    backend.load(folder / "long.gguf", context_size=65536, options=["parallel:2"])
    slow = predict_options(config("long.gguf", max_tokens=0), "ba")
    with backend.client.predict_stream(slow, 60) as stream:
        next(iter(stream))
        assert backend.client.predict(predict_options(config("long.gguf"), "be"), 20).tokens == 8


def test_prompts_are_not_in_the_log(shared: LlamaBackend) -> None:
    shared.client.predict(predict_options(config(), "confidential"), 10)
    shared.client.predict(predict_options(config(), messages=[("user", "confidential")]), 10)
    assert "model loaded" in shared.log.read_text()
    assert "confidential" not in shared.log.read_text()


# Loading and unloading


def test_nothing_is_answered_before_a_model_is_loaded(backend: LlamaBackend) -> None:
    assert backend.client.status(5).state == "uninitialized"
    with pytest.raises(CallFailed, match="No model is loaded") as refused:
        backend.client.predict(predict_options(config(), "x"), 5)
    assert refused.value.code == "FAILED_PRECONDITION"


def test_status_tells_the_memory_of_both_processes(shared: LlamaBackend, folder: Path) -> None:
    said = shared.client.status(5)
    assert said.state == "ready"
    assert said.memory_total == said.breakdown["rss"]
    assert said.breakdown["model_file"] == (folder / "tiny.gguf").stat().st_size
    assert said.breakdown["rss"] >= said.breakdown["shared"] + said.breakdown["anon"] - (1 << 20)
    assert said.breakdown["rss"] > psutil.Process(shared.process.pid).memory_info().rss


def test_free_ends_the_engine_and_gives_its_memory_back(backend: LlamaBackend, folder: Path) -> None:
    before = backend.client.status(5).memory_total or 0
    backend.load(folder / "tiny.gguf")
    engine = backend.engine()
    assert (backend.client.status(5).memory_total or 0) > before + (10 << 20)
    backend.client.free(5)
    assert not alive(engine)
    assert backend.client.status(5).state == "uninitialized"
    assert (backend.client.status(5).memory_total or 0) < before + (10 << 20)
    backend.load(folder / "tiny.gguf")
    assert backend.client.predict(predict_options(config(), "ba"), 10).text


def bad_files(good: bytes) -> dict[str, tuple[bytes, str]]:
    def told(word: bytes) -> bytes:
        return struct.pack("<Q", len(word)) + word

    twice = good.replace(told(b"ba") + told(b"be"), told(b"ba") + told(b"ba"), 1)
    return {
        "text.gguf": (b"This is not a model.", "not a GGUF file"),
        "empty.gguf": (b"", "not a GGUF file"),
        "cut.gguf": (good[: len(good) // 2], "corrupted or incomplete"),
        "new.gguf": (b"GGUF" + bytes(range(256)) * 8, "version"),
        # The engine's own code gives up on this one, and its process with it.
        "twice.gguf": (twice, "broke down.*GGML_ASSERT"),
    }


@pytest.mark.parametrize("name", ["text.gguf", "empty.gguf", "cut.gguf", "new.gguf", "twice.gguf", "missing.gguf"])
def test_a_bad_file_is_refused_with_a_reason_and_a_good_one_loads_after_it(
    backend: LlamaBackend, folder: Path, tmp_path: Path, name: str
) -> None:
    content, reason = bad_files((folder / "tiny.gguf").read_bytes()).get(name, (None, "no file"))
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadRefused, match=reason):
        backend.load(tmp_path / name)
    assert backend.client.status(5).state == ("error" if name == "twice.gguf" else "uninitialized")
    assert backend.client.health(5)
    backend.load(folder / "tiny.gguf")
    assert backend.client.status(5).state == "ready"


def test_an_engine_that_breaks_down_is_an_error_for_the_caller_and_the_backend_lives(
    backend: LlamaBackend, folder: Path
) -> None:
    backend.load(folder / "long.gguf", context_size=65536)
    engine = backend.engine()
    stream = backend.client.predict_stream(predict_options(config("long.gguf", max_tokens=0), "ba"), 60)
    with pytest.raises(CallFailed, match=r"broke down while it worked .signal SIGABRT") as failed, stream:
        for piece in stream:
            if piece.tokens > 3 and alive(engine):
                engine.send_signal(6)
    assert failed.value.code == "ABORTED"
    assert backend.client.status(5).state == "error"
    with pytest.raises(CallFailed, match="Load the model again"):
        backend.client.predict(predict_options(config("long.gguf"), "ba"), 5)
    backend.load(folder / "tiny.gguf")
    assert backend.client.predict(predict_options(config(), "ba"), 10).text


# Never waiting for the engine


def test_health_and_status_answer_at_once_while_a_model_loads(backend: LlamaBackend, folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(backend.load, folder / "tiny.gguf")
        # A load of gigabytes in a moment: the engine is held where it is.
        engine = backend.engine()
        engine.suspend()
        try:
            assert slowest(lambda: backend.client.health(2)) < 0.5
            assert slowest(lambda: backend.client.status(2)) < 0.5
            assert backend.client.status(2).state == "busy"
            with pytest.raises(CallFailed, match="still being loaded"):
                backend.client.predict(predict_options(config(), "x"), 2)
            with pytest.raises(LoadRefused, match="another model is being loaded"):
                backend.load(folder / "tiny.gguf")
        finally:
            engine.resume()
        loading.result(20)
    assert backend.client.status(2).state == "ready"


def test_health_and_status_answer_at_once_while_text_is_made(backend: LlamaBackend, folder: Path) -> None:
    backend.load(folder / "long.gguf", context_size=65536)
    options = predict_options(config("long.gguf", max_tokens=0), "ba")
    with backend.client.predict_stream(options, 60) as stream:
        next(iter(stream))
        assert slowest(lambda: backend.client.health(2)) < 0.5
        assert slowest(lambda: backend.client.status(2)) < 0.5
        assert backend.client.status(2).state == "busy"


def test_health_answers_while_more_requests_wait_than_are_allowed(backend: LlamaBackend, folder: Path) -> None:
    backend.load(folder / "long.gguf", context_size=65536)
    options = predict_options(config("long.gguf", max_tokens=0), "ba")
    streams = [backend.client.predict_stream(options, 60) for _ in range(20)]
    refused = []

    def refusals() -> bool:
        refused[:] = [stream for stream in streams if stream._call.done()]
        return len(refused) == 4

    assert eventually(refusals)
    assert backend.client.health(2)
    with pytest.raises(CallFailed, match="limit") as error:
        list(refused[0])
    assert error.value.code == "RESOURCE_EXHAUSTED"
    for stream in streams:
        stream.close()
    assert eventually(lambda: backend.client.status(2).state == "ready", 20)


def is_idle(process: psutil.Process) -> bool:
    """Whether it computes nothing over a fifth of a second."""
    before = sum(process.cpu_times()[:2])
    time.sleep(0.2)
    return sum(process.cpu_times()[:2]) - before < 0.05


def test_cancelling_a_stream_stops_the_engine(backend: LlamaBackend, folder: Path) -> None:
    backend.load(folder / "long.gguf", context_size=65536)
    engine = backend.engine()
    stream = backend.client.predict_stream(predict_options(config("long.gguf", max_tokens=0), "ba"), 60)
    for piece in stream:
        if piece.tokens > 3:
            stream.cancel()
    assert eventually(lambda: is_idle(engine), 10)
    assert eventually(lambda: backend.client.status(2).state == "ready", 1)
    assert backend.client.predict(predict_options(config("long.gguf"), "ba"), 10).tokens == 8


def test_the_deadline_of_a_call_stops_the_engine(backend: LlamaBackend, folder: Path) -> None:
    backend.load(folder / "long.gguf", context_size=65536)
    with pytest.raises(BackendError, match="did not answer Predict within"):
        backend.client.predict(predict_options(config("long.gguf", max_tokens=0), "ba"), 0.3)
    assert eventually(lambda: is_idle(backend.engine()), 10)
    assert eventually(lambda: backend.client.status(2).state == "ready", 1)


def test_a_caller_who_gives_a_load_up_ends_it(backend: LlamaBackend, folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool, BackendClient(backend.address) as other:
        data = backend_pb2.ModelOptions(Model="tiny.gguf", ModelFile=str(folder / "tiny.gguf"))
        loading = pool.submit(other.load, data, 30)
        engine = backend.engine()
        engine.suspend()
        other.close()
        with pytest.raises(BackendError):
            loading.result(5)
    assert eventually(lambda: not alive(engine))
    backend.load(folder / "tiny.gguf")


# Stopping


@pytest.mark.parametrize("doing", ["nothing", "loading", "answering"])
@pytest.mark.parametrize("signal_name", ["terminate", "kill"])
def test_a_signal_leaves_no_process(backend: LlamaBackend, folder: Path, doing: str, signal_name: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        if doing == "loading":
            pool.submit(backend.load, folder / "tiny.gguf")
            engine = backend.engine()
            engine.suspend()
        else:
            backend.load(folder / "long.gguf", context_size=65536)
            engine = backend.engine()
        stream = backend.client.predict_stream(predict_options(config("long.gguf", max_tokens=0), "ba"), 60)
        if doing == "answering":
            next(iter(stream))
        began = time.monotonic()
        getattr(backend.process, signal_name)()
        code = backend.process.wait(10)
        assert time.monotonic() - began < 2
        assert code == (0 if signal_name == "terminate" else -9)
        if signal_name == "kill" and alive(engine):
            # It may have been held before it could ask the system to end it with its parent.
            engine.resume()
        assert eventually(lambda: not alive(engine), 2)
        stream.close()


def test_a_port_in_use_is_an_error_with_a_sentence(shared: LlamaBackend, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as output:
        process = spawn(shared.address, output)
    assert process.wait(20) == 1
    assert f"Cannot listen on {shared.address}" in (tmp_path / "log").read_text()


STARTER = """
import subprocess, sys
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("watch", ["true", "false"])
def test_the_backend_ends_with_its_parent_unless_told_not_to(tmp_path: Path, watch: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    run = Path(__file__).parents[2] / "backends" / "llama-cpp" / "run.sh"
    environment = {
        "LOCALAI_BACKEND_PYTHON": sys.executable,
        "LOCALAI_BACKEND_PARENT_WATCH": watch,
        "LOCALAI_BACKEND_PARENT_WATCH_INTERVAL": "100ms",
    }
    with (tmp_path / "log").open("w") as log:
        parent = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(run), "--addr", address],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with parent, BackendClient(address) as client:
        process = psutil.Process(int(parent.stdout.readline()))
        assert eventually(lambda: answers(client), 20)
        parent.kill()
        parent.wait(5)
        try:
            ended = eventually(lambda: not alive(process), 5 if watch == "true" else 0.5)
            assert ended == (watch == "true")
        finally:
            if alive(process):
                process.kill()


def answers(client: BackendClient) -> bool:
    try:
        return client.health(1)
    except BackendError:
        return False


def test_a_backend_with_a_token_refuses_callers_without_it(tmp_path: Path) -> None:
    environment = {"LOCALAI_GRPC_AUTH_TOKEN": "sesame"}
    with LlamaBackend(tmp_path / "log", environment, token="sesame") as backend:
        assert backend.client.health(5)
        for token in ("", "wrong"):
            with BackendClient(backend.address, token) as stranger:
                with pytest.raises(CallFailed, match="LOCALAI_GRPC_AUTH_TOKEN") as refused:
                    stranger.health(5)
                assert refused.value.code == "UNAUTHENTICATED"
                with pytest.raises(CallFailed, match="token"):
                    list(stranger.predict_stream(predict_options(config(), "x"), 5))
