"""Prompts: checked before they are sent, bounded in number and in time, ended in the engine when nobody reads on."""

import queue
import threading
import time
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from django.conf import settings
from django.utils import timezone

from localai_admin.lib.units import duration_text
from models.backend.client import BackendClient
from models.backend.errors import BackendError, Hung
from models.backend.options import PredictOptions, predict_options
from models.configs import ConfigInvalid, ModelConfig
from models.models import Instance

#: A prompt that is longer is refused. Bytes of UTF-8.
MAX_BYTES = 32 << 10
#: How often a reader hears something while the engine says nothing, so that one who has gone is noticed. Seconds.
HEARTBEAT = 1.0
#: How often the figures are brought up to date while text comes. Seconds.
FIGURES_EVERY = 0.25

_MOST_AT_ONCE = 64 << 10
_TEXT = frozenset({"chat", "completion", "edit"})


class PromptRefused(Exception):
    """A prompt that was not sent, with a sentence for the person and the HTTP status that says the same."""

    status: ClassVar[int] = 422
    retry_helps: ClassVar[bool] = False


class PromptInvalid(PromptRefused):
    """The prompt is no good, empty or too long; or the configuration that says how to send it."""


class NoTextModel(PromptRefused):
    """The model does something else than answer in text."""


class NotReady(PromptRefused):
    """The model is not loaded, or not yet. A retry helps once it is."""

    status = 409
    retry_helps = True


class TooManyStreams(PromptRefused):
    """Every place for an answer is taken. A retry helps in a moment."""

    status = 429
    retry_helps = True
    retry_after: ClassVar[int] = 5


class Part(NamedTuple):
    """A piece of an answer.

    kind is `text` (to be appended), `figures` (takes the place of the figures before), `error` (a sentence, the last
    part) or `waiting` (the engine said nothing for a second).
    """

    kind: str
    text: str = ""


class _Place:
    """One of the places this process has for answers; given back once, however often it is asked to."""

    _free = threading.BoundedSemaphore(settings.PROMPT_STREAMS)

    def __init__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise TooManyStreams(
                f"{settings.PROMPT_STREAMS} answers are being made already, which is the limit. "
                "Wait until one of them is done, then send again."
            )
        self._lock = threading.Lock()
        self._taken = True

    def give_back(self) -> None:
        with self._lock:
            if self._taken:
                self._taken = False
                self._free.release()


class Meter:
    """Tokens, tokens a second and the time to the first token, as they come."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: float | None = None
        self._last = self._started
        self._chunks = 0
        self._reported = 0

    def add(self, tokens: int) -> None:
        """Count a piece of text. Some engines report the tokens so far, some one at a time, some nothing."""
        self._last = time.monotonic()
        self._first = self._first or self._last
        self._chunks += 1
        self._reported = max(self._reported, tokens)

    def __str__(self) -> str:
        if self._first is None:
            return "0 tokens"
        count = max(self._chunks, self._reported)
        words = [f"{count} token{'' if count == 1 else 's'}"]
        if count > 1 and self._last > self._first:
            words.append(f"{(count - 1) / (self._last - self._first):.1f} tokens/s")
        words.append(f"first token after {self._first - self._started:.2f} s")
        return ", ".join(words)


class Answer:
    """An answer while it is made: iterate over its parts, once. `close` ends the engine's work and frees the place.

    The engine is read by a thread of its own, so that a reader who has gone is noticed while the engine is silent.
    """

    def __init__(self, instance: Instance, options: PredictOptions, place: _Place) -> None:
        self._instance, self._place = instance, place
        self._client = BackendClient(instance.address)
        self._stream = self._client.predict_stream(options, timeout=settings.PROMPT_SECONDS)
        self._news: queue.SimpleQueue[str | BackendError | None] = queue.SimpleQueue()
        self._meter = Meter()
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="answer", daemon=True).start()

    def __iter__(self) -> Iterator[Part]:
        shown = 0.0
        try:
            while not self._closed.is_set():
                text, done, error = self._gather()
                if text:
                    yield Part("text", text)
                if error:
                    yield Part("error", _why(error))
                if done:
                    yield Part("figures", str(self._meter))
                if error or done:
                    return
                if not text:
                    yield Part("waiting")
                elif time.monotonic() - shown >= FIGURES_EVERY:
                    shown = time.monotonic()
                    yield Part("figures", str(self._meter))
        finally:
            self.close()

    def whole(self) -> dict[str, str]:
        """All of it: text, figures and error, when it is done."""
        result = {"text": "", "figures": "", "error": ""}
        for kind, text in self:
            if kind == "text":
                result["text"] += text
            elif kind in result:
                result[kind] = text
        return result

    def close(self) -> None:
        """Safe to call again, from any thread."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._stream.cancel()
        self._client.close()
        self._place.give_back()
        _touch(self._instance)

    def _read(self) -> None:
        """Pass on what the engine says, then what broke, if anything did; None ends it."""
        try:
            for chunk in self._stream:
                if chunk.text:
                    self._meter.add(chunk.tokens)
                    self._news.put(chunk.text)
        except BackendError as error:
            self._news.put(error)
        finally:
            self._news.put(None)

    def _gather(self) -> tuple[str, bool, BackendError | None]:
        """All the text that is there, waiting for some if there is none; whether it was the last; what broke."""
        text = ""
        try:
            news = self._news.get(timeout=HEARTBEAT)
            while isinstance(news, str) and len(text) < _MOST_AT_ONCE:
                text += news
                news = self._news.get_nowait()
        except queue.Empty:
            return text, False, None
        if isinstance(news, str):
            return text + news, False, None
        return text, news is None, news


def ask(name: str, instance: Instance | None, config: ModelConfig | None, prompt: str) -> Answer:
    """Send a prompt to the model; the answer must be closed. Raises PromptRefused before anything is sent.

    The prompt itself is kept nowhere and never logged.
    """
    prompt = prompt.strip()
    if config is None:
        raise NotReady(f"{name} has no configuration any more, so that nothing says how to ask it. Install it again.")
    _check(config, prompt)
    if instance is None or not instance.is_ready:
        raise NotReady(f"{name} is {_state_words(instance)}. Load it, then send again.")
    try:
        options = _options(config, prompt)
    except ConfigInvalid as error:
        raise PromptInvalid(f"The configuration of {name} cannot be used: {error}") from error
    place = _Place()
    try:
        answer = Answer(instance, options, place)
    except BaseException:
        place.give_back()
        raise
    _touch(instance)
    return answer


def _state_words(instance: Instance | None) -> str:
    return instance.get_state_display().lower() if instance else "stopped"


def answers_text(config: ModelConfig) -> bool:
    """Whether a prompt makes sense; a model that does not say what it is for is given the benefit of the doubt."""
    return not config.usecases or bool(config.usecases & _TEXT)


def uses_of(config: ModelConfig | None) -> str:
    """What the model is for, in words."""
    return ", ".join(sorted(config.usecases)).replace("_", " ") if config else ""


def _check(config: ModelConfig, prompt: str) -> None:
    if not answers_text(config):
        raise NoTextModel(f"{config.name} does not answer prompts in text; it is for {uses_of(config)}.")
    if not prompt:
        raise PromptInvalid("The prompt is empty. Type something, then send.")
    if (size := len(prompt.encode())) > MAX_BYTES:
        raise PromptInvalid(f"The prompt has {size:,} bytes; it may have {MAX_BYTES:,}. Shorten it.")


def _options(config: ModelConfig, prompt: str) -> PredictOptions:
    """A conversation, put into the model's own form by its tokenizer; bare text for a model that only completes."""
    if config.usecases & {"completion", "edit"} and "chat" not in config.usecases:
        return predict_options(config.data, prompt=prompt)
    system = config.data.get("system_prompt")
    messages = [("system", system)] if isinstance(system, str) and system else []
    return predict_options(config.data, messages=[*messages, ("user", prompt)])


def _why(error: BackendError) -> str:
    if isinstance(error, Hung):
        return f"The answer was cut off after {duration_text(settings.PROMPT_SECONDS)}, the longest one may take."
    return str(error)


def _touch(instance: Instance) -> None:
    Instance.objects.filter(pk=instance.pk).update(last_used_at=timezone.now())
