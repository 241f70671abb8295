"""From what a person brings along to the request of a plan. Nothing that is large is fetched here."""

from typing import Any
from urllib.parse import unquote

from gallery.catalog import documents, wishes
from gallery.catalog.errors import ImportRefused
from gallery.catalog.recipes import MAX_RECIPE_BYTES, parse_recipe
from gallery.catalog.wishes import Wish
from gallery.hub import configuration
from gallery.models import Entry
from gallery.services import outside
from gallery.services.transport import downloader, refuse
from localai_admin.lib.net import shown
from localai_admin.lib.paths import is_model_name

Request = dict[str, Any]


def of_address(address: str, name: str = "", seconds: float = outside.SECONDS) -> Request:
    """The request for what an address leads to: a recipe, or a configuration without one.

    Raises CatalogError and DownloadError; for an index the sentence says where that goes.
    """
    address = address.strip()
    # What a registry is asked has limits of its own, which are longer than a person waits.
    refuse(address)
    with downloader(timeouts=outside.TIMEOUTS) as transport:
        body = outside.ask(
            lambda: transport.fetch(address, limit=MAX_RECIPE_BYTES, seconds=seconds).body, shown(address), seconds
        )
    content = documents.load(body or b"", "a model's configuration", MAX_RECIPE_BYTES)
    wishes.refuse_list(content)
    found = parse_recipe(body or b"")
    if not (found.config_file or found.files or found.prompt_templates):
        raise ImportRefused(
            f"{shown(address)} says nothing that could be installed: it has no config_file, files or parameters.",
            "Use the address of a model's recipe or configuration.",
        )
    chosen = named(name, found.name or configuration.model_name(unquote(address.rpartition("/")[2]).partition(".y")[0]))
    return {"name": chosen, "described": {"name": chosen, "url": address}}


def of_text(text: str | bytes, name: str = "") -> Request:
    """The request for a recipe, a configuration or an entry. Raises CatalogError."""
    return of_wish(wishes.read_one(text), name)


def of_wish(wish: Wish, name: str = "", seconds: float = outside.SECONDS) -> Request:
    """The request for one wish, of a list or alone. Raises CatalogError, for an `id` also when no gallery has it.

    An address that comes without a name is asked for one, within so many seconds; that may raise DownloadError.
    """
    if wish.id:
        return _of_id(wish, name)
    suggested = wish.name
    if not (name or suggested) and (address := wish.described.get("url")):
        suggested = of_address(address, seconds=seconds)["name"]
    chosen = named(name, suggested)
    return {"name": chosen, "described": {**wish.described, "name": chosen}}


def named(name: str, suggested: str) -> str:
    chosen = name.strip() or suggested
    if not chosen:
        raise ImportRefused("The model has no name.", "Give it one: write `name: …`, or fill in the field.")
    if not is_model_name(chosen):
        raise ImportRefused(f"{chosen[:100]!r} is no name that a model's files can have.", "Choose another name.")
    return chosen


def _of_id(wish: Wish, name: str) -> Request:
    entry = find_entry(wish.id, wish.gallery)
    built = _variant(entry, wish.variant) if wish.variant else entry
    request: Request = {"name": named(name, wish.name or entry.name), "entry": built.full_name}
    if wish.overrides:
        request["overrides"] = wish.overrides
    if wish.files:
        request["files"] = wish.files
    return request


def find_entry(wanted: str, gallery: str = "") -> Entry:
    """The entry that LocalAI would take: any case, `/` as `__`, the first gallery that has it. Raises ImportRefused."""
    of, at, name = wanted.rpartition("@")
    of = of if at else gallery
    entries = Entry.objects.shown().select_related("gallery").order_by("gallery__position", "gallery__name", "position")
    if of:
        entries = entries.filter(gallery__name__iexact=of)
    for spelling in dict.fromkeys([name, name.replace("/", "__"), name.replace("__", "/")]):
        if found := entries.filter(name__iexact=spelling).first():
            return found
    where = f"The gallery {of} has" if of else "The galleries have"
    raise EntryUnknown(f"{where} no entry {wanted[:200]!r}.", "Check the spelling, or refresh the gallery.")


class EntryUnknown(ImportRefused):
    """No gallery has the entry, as far as the galleries were read."""


def _variant(entry: Entry, wanted: str) -> Entry:
    names = [item.get("model") for item in entry.data.get("variants") or () if isinstance(item, dict)]
    name = next((name for name in names if isinstance(name, str) and name.lower() == wanted.lower()), "")
    found = Entry.objects.filter(gallery=entry.gallery, name=name).select_related("gallery").first() if name else None
    if found is None:
        others = ", ".join(str(name) for name in names) or "none"
        raise ImportRefused(f"{entry.name} has no variant {wanted[:100]!r}.", f"It has: {others}.")
    return found
