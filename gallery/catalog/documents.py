"""Documents of a gallery, as far as they are what they should be."""

from typing import Any

from gallery.catalog.errors import CatalogError
from localai_admin.lib import yaml

_KINDS = {dict: "a map", list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}


def load(data: bytes, what: str, max_bytes: int) -> Any:
    """The YAML of `what`, where the last of equal keys wins. Raises CatalogError for a web page and for nothing."""
    if is_page(data[:1000].removeprefix(b"\xef\xbb\xbf").decode(errors="replace")):
        raise CatalogError(f"The address answered with a web page instead of {what}.")
    try:
        content = yaml.load(data, max_bytes=max_bytes, duplicate_keys="last")
    except yaml.YamlError as error:
        raise CatalogError(f"This is not {what}: {error}") from None
    if content is None:
        raise CatalogError(f"The address answered with nothing instead of {what}.")
    return content


def is_page(text: str) -> bool:
    """Whether the text is a page for a browser, as servers send in place of what is missing."""
    return text[:1000].lstrip().lower().startswith(("<!doctype", "<html", "<head", "<?xml", "<body", "<!--"))


def kind(value: object) -> str:
    return _KINDS.get(type(value), "nothing")


def text(value: object) -> str:
    """A text or a number as text, without space around it; empty for everything else."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, each once, in order; a single text is a list of one."""
    items = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(item for item in map(text, items) if item))


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
