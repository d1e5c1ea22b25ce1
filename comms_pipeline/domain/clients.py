"""Which client asked: a keyed hash of an IP address, the same for the same client. The address itself is never kept."""

from hashlib import blake2b
from ipaddress import IPv6Address, ip_address

_KEY_BYTES = 8
# A household or an office has a whole /64, and its machines change their addresses in it every day (RFC 8981).
_IPV6_CLIENT_BITS = 64


def ip_key(host: str | None, secret: bytes) -> str | None:
    """16 hex digits for an IPv4 address or the /64 of an IPv6 address; None for what is neither."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    packed = address.packed
    if isinstance(address, IPv6Address):
        packed = packed[: _IPV6_CLIENT_BITS // 8]
    root = blake2b(secret, digest_size=32, person=b"comms-client").digest()
    return blake2b(packed, key=root, digest_size=_KEY_BYTES).hexdigest()
