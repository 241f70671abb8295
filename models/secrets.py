"""What a configuration or a request may hold and a page must not show."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(not shown)"

_NAMES = r"token|secret|password|passwd|passphrase|api[_-]?key|private[_-]?key|credentials?|authorization|cookie"
#: `hf_token`, `apiKey` and `accessToken`, not `tokens` nor `token_count`.
_SECRET = re.compile(rf"(^|[_-])({_NAMES})$", re.IGNORECASE)
_CAMEL = re.compile(r"[a-z](Token|Secret|Password|Key)$")
#: An option of a backend: `hf_token:abc`.
_OPTION = re.compile(r"([A-Za-z0-9_.-]+)([:=])(.+)", re.DOTALL)
#: A name and a password in an address.
_USER = re.compile(r"(://)[^/\s\"'@]+@")
#: A parameter of an address, and those that open what it leads to whoever asks.
_PARAMETER = re.compile(r"([?&])([^=&#\s]+)=([^&#\s]*)")
_SIGNS = re.compile(r"sig|signature|key|auth|x-\w+-(signature|credential|security-token)", re.IGNORECASE)


def masked(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which the values of keys that name a secret are hidden, at every depth, and names in addresses too."""
    return {key: HIDDEN if value and _is_secret(str(key)) else _inside(value) for key, value in data.items()}


def _inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, list):
        return [_inside(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    option = _OPTION.fullmatch(value)
    if option and _is_secret(option[1]):
        return f"{option[1]}{option[2]}{HIDDEN}"
    return _PARAMETER.sub(_parameter, _USER.sub(rf"\1{HIDDEN}@", value)) if "://" in value else value


def _parameter(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={HIDDEN}" if _is_secret(found[2]) or _SIGNS.fullmatch(found[2]) else found[0]


def _is_secret(key: str) -> bool:
    return bool(_SECRET.search(key) or _CAMEL.search(key))
