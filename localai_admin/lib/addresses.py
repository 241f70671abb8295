"""Which addresses on the network the console may connect to when somebody else chose them."""

import contextlib
import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORBIDDEN_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # shared by carriers; some clouds keep their metadata there
        "168.63.129.16/32",  # a cloud's own agent behind a public address
        "192.0.0.0/24",  # protocol assignments; a cloud keeps its metadata there
        "192.88.99.0/24",  # relays into IPv4
        "192.31.196.0/24",  # answers for private addresses, and nothing else
        "2620:4f:8000::/48",
        "3fff::/20",  # for documentation
        "::/96",  # IPv4 in an old disguise
    )
]
#: Networks whose addresses carry one of IPv4, with the bit it ends at.
_CARRIERS = [
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
]
_FORBIDDEN_NAMES = {"localhost", "metadata", "instance-data", "ip6-localhost", "ip6-loopback", "broadcasthost"}
_FORBIDDEN_ENDINGS = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa", ".lan")


def is_public(text: str) -> bool:
    """Whether an address (not a name) is one of the public network, also when it is IPv4 in the clothes of IPv6."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return _is_public(_carried(address))


def literal(host: str) -> str:
    """The address that a host is written as, also in the odd forms that systems still understand (2130706433, 0x7f.1);
    empty for a name."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    with contextlib.suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return ""


def is_local_name(host: str) -> bool:
    """Whether a host name can only mean this machine, its network or a cloud's metadata."""
    host = host.rstrip(".").lower()
    return host in _FORBIDDEN_NAMES or host.endswith(_FORBIDDEN_ENDINGS)


def _carried(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _CARRIERS:
            if address in network:
                return ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    if any(address in network for network in _FORBIDDEN_NETWORKS if network.version == address.version):
        return False
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified or site_local
    )
