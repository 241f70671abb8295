"""https:// and http://: as they are; what is on Hugging Face comes from the chosen mirror."""

from gallery.downloads.errors import BadUri
from gallery.downloads.schemes import huggingface
from gallery.downloads.schemes.scheme import Context, Scheme, host_and_path, last_part
from gallery.downloads.schemes.source import Source


def _source(uri: str, _rest: str, context: Context) -> Source:
    if found := huggingface.at_hub(uri, context.settings):
        return found
    if not host_and_path(uri):
        raise BadUri(f"The address {uri[:200]!r} names no host.")
    return Source("http", uri, last_part(uri))


SCHEME = Scheme(("https://", "http://"), _source)
