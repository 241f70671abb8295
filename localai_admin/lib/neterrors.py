"""What can go wrong between the console and a host on the network.

NetError              retry   what
├── RefusedUrl        no      no https address, or a redirect to one without TLS
├── RefusedAddress    no      the host is not on the public network
├── TooManyRedirects  no      a circle, or more than ten
├── BadAnswer         no      an answer that cannot be used as it is
├── TooLarge          no      more bytes than were allowed
├── ConnectFailed     yes     name, connection or TLS (a bad certificate: no)
├── TimedOut          yes     no headers, or not the whole of it, in time
└── BrokenOff         yes     the connection broke inside the body
    └── Stalled       yes     no data in the body for too long, or next to none
"""


class NetError(Exception):
    """The text is a sentence for a person, without secrets; `action` is what can be done."""

    retry = True
    action = "Check the network and try again."


class RefusedUrl(NetError):
    retry = False
    action = "Use an https address, or have an administrator trust the host (LOCALAI_ADMIN_TRUSTED_HOSTS)."


class RefusedAddress(NetError):
    retry = False
    action = "If the host is meant, an administrator can trust it (LOCALAI_ADMIN_TRUSTED_HOSTS)."

    def __init__(self, host: str, address: str) -> None:
        self.host, self.address = host, address
        what = f"{host} is" if host == address else f"{host} is {address}, which is"
        super().__init__(f"{what} not an address of the public network, so the console does not connect to it.")


class TooManyRedirects(NetError):
    retry = False
    action = "Open the address in a browser and use the one it ends at."


class BadAnswer(NetError):
    retry = False
    action = "Check the address; another mirror may answer better."


class TooLarge(NetError):
    retry = False
    action = "Check the address: this is more than such a file should be."


class ConnectFailed(NetError):
    def __init__(self, text: str, *, retry: bool = True, action: str = "") -> None:
        self.retry, self.action = retry, action or self.action
        super().__init__(text)


class TimedOut(NetError):
    action = "The server is slow or gone; try again later."


class BrokenOff(NetError):
    pass


class Stalled(BrokenOff):
    action = "The server stopped sending; try again."
