"""Why a download ends early.

DownloadError            cause               retry
├── Network              network             yes
├── Stalled              stalled             yes
├── NotFound             not_found           no
├── FileGone             file_gone           yes
├── Forbidden            forbidden           no
├── NeedsToken           needs_token         no
├── TooManyRequests      too_many_requests   yes, after what the server says
├── ServerFault          server              yes for 5xx
├── DigestMismatch       digest_mismatch     once, when the bytes came in several pieces
├── NoSpace              no_space            no; the bytes are kept
├── UnsafeName           unsafe_path         no
├── NameTaken            name_taken          no
├── RefusedSource        refused_address     no
├── BadUri               bad_uri             no
├── BadManifest          bad_manifest        no
├── BadArchive           bad_archive         no
├── UnsafeFiles          unsafe              no
├── TooLarge             too_large           no
└── LocalFault           local_io            no
"""

from localai_admin.lib import neterrors
from localai_admin.lib.plain import without_passwords
from localai_admin.lib.units import bytes_text


class DownloadError(Exception):
    """The text is a sentence that says what was wrong; `action` says what can be done about it.

    `retry` is whether doing the same again later can help, `retry_after` how many seconds the server asks to wait.
    """

    cause = "download"
    retry = False
    retry_after: float | None = None
    action = ""

    def __init__(self, text: str, *, action: str = "") -> None:
        self.action = action or self.action
        super().__init__(without_passwords(text))


class Network(DownloadError):
    cause = "network"
    retry = True
    action = "Check the network of this machine; the bytes that are here are kept."


class Stalled(Network):
    cause = "stalled"
    action = "The server stopped sending. Try again; the bytes that are here are kept."


class NotFound(DownloadError):
    cause = "not_found"
    action = "The file was moved or removed. Look for a newer entry in the gallery, or correct the address."


class FileGone(DownloadError):
    """A file that did not have to be fetched was taken away by somebody before the model was put together."""

    cause = "file_gone"
    retry = True
    action = "Another model that had it was deleted meanwhile; the next try fetches it."


class Forbidden(DownloadError):
    cause = "forbidden"
    action = "The server refuses to give this file. Check that it is public, or that the token may read it."


class NeedsToken(DownloadError):
    cause = "needs_token"
    action = "Accept the licence on the model's page, and set HF_TOKEN to a token that may read it."


class TooManyRequests(DownloadError):
    cause = "too_many_requests"
    retry = True
    action = "The server asks to wait. The console tries again by itself."

    def __init__(self, text: str, retry_after: float | None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class ServerFault(DownloadError):
    cause = "server"
    action = "The server does not work as it should. Try again later, or use another address."

    def __init__(self, text: str, *, retry: bool, retry_after: float | None = None) -> None:
        self.retry, self.retry_after = retry, retry_after
        super().__init__(text)


class DigestMismatch(DownloadError):
    cause = "digest_mismatch"
    action = "The file was changed since the gallery listed it, or damaged. Refresh the gallery and install again."

    def __init__(self, filename: str, expected: str, got: str, *, retry: bool) -> None:
        self.filename, self.expected, self.got, self.retry = filename, expected, got, retry
        super().__init__(
            f"{filename} is not what the gallery says: its SHA-256 should be {expected} and is {got}. "
            "It was put aside and is not used."
        )


class NoSpace(DownloadError):
    cause = "no_space"

    def __init__(self, missing: int | None, where: str) -> None:
        """`missing` is bytes; None when the size of what is still to come is unknown."""
        self.missing = missing
        amount = f"{bytes_text(missing)} more" if missing is not None else "more space"
        super().__init__(
            f"The disk of {where} is full: {amount} is needed.",
            action=f"Free {amount} there and try again; the bytes that are here are kept.",
        )


class UnsafeName(DownloadError):
    cause = "unsafe_path"
    action = "Do not install this entry, or correct the name in it."


class NameTaken(DownloadError):
    cause = "name_taken"
    action = "Delete or rename the file that is there, or the model it belongs to, and install again."


class RefusedSource(DownloadError):
    cause = "refused_address"
    action = (
        "If the address is meant, an administrator can allow it in LOCALAI_ADMIN_TRUSTED_HOSTS, "
        "or a folder in LOCALAI_ADMIN_FILE_ROOTS."
    )


class BadUri(DownloadError):
    cause = "bad_uri"
    action = "Correct the address in the entry."


class BadManifest(DownloadError):
    """What a registry says of a name cannot be used, or is not what was asked for."""

    cause = "bad_manifest"
    action = "Check the name and its tag; whoever put it into the registry may have to do so again."


class BadArchive(DownloadError):
    """A packed file that is damaged, or that would do more than put files into its folder."""

    cause = "bad_archive"
    action = "Do not install this entry, or use another address for its files."


class UnsafeFiles(DownloadError):
    """A scan found something dangerous in a repository that files are to come from."""

    cause = "unsafe"


class TooLarge(DownloadError):
    cause = "too_large"
    action = "Check the address: the server sends more than was announced."


class LocalFault(DownloadError):
    cause = "local_io"
    action = "Check the permissions and the health of the disk, then try again."


def from_net(error: neterrors.NetError) -> DownloadError:
    """The same failure, as one of a download."""
    kind = next((kind for net, kind in _OF_NET.items() if isinstance(error, net)), Network)
    failure = kind(str(error), action=error.action)
    failure.retry = error.retry
    return failure


_OF_NET: dict[type[neterrors.NetError], type[DownloadError]] = {
    neterrors.RefusedAddress: RefusedSource,
    neterrors.RefusedUrl: RefusedSource,
    neterrors.TooManyRedirects: Network,
    neterrors.BadAnswer: Network,
    neterrors.TooLarge: TooLarge,
    neterrors.Stalled: Stalled,
}
