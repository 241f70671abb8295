"""How a line of the log is written: in one line, whatever was put into it, and without secrets."""

import logging
import re

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(/welcome/)[^/\s\"']+"), r"\1(hidden)"),
    (re.compile(r"(://)[^/\s\"'@]+@"), r"\1(hidden)@"),
    (
        re.compile(r"([?&][^=&\s]*(?:token|secret|password|key|sig|signature|credential)=)[^&\s\"']+", re.I),
        r"\1(hidden)",
    ),
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), "(hidden)"),
    (re.compile(r"(\bbearer\s+)[^\s\"']+", re.IGNORECASE), r"\1(hidden)"),
)


class Line(logging.Formatter):
    """A message that holds a line break is still one line: nobody can write a line of their own into the log."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def without_secrets(text: str) -> str:
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
