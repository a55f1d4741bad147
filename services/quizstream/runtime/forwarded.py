"""Under which address clients see the service."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp import hdrs, web

_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)


class PublicBase:
    """Gives the base of absolute links: the configured one, else what the request was sent to.

    `X-Forwarded-Proto` and `-Host` count only from a trusted peer, and of several values the last, which that peer
    wrote: values before it may come from the client.
    """

    def __init__(self, public_url: str | None, trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._public_url = public_url
        self._trusted = tuple(trusted_proxies)

    def of(self, request: web.BaseRequest) -> str:
        """Give scheme, host and port (and the path of the configured URL), without a slash at the end.

        Raises:
            web.HTTPBadRequest: no usable `Host` (RFC 9112, section 3.2, asks for that answer).

        """
        if self._public_url is not None:
            return self._public_url
        scheme, host = request.scheme, request.headers.get(hdrs.HOST, "")
        if self._trusted and self._is_trusted(request.remote):
            scheme = _last(request, hdrs.X_FORWARDED_PROTO, scheme).lower()
            host = _last(request, hdrs.X_FORWARDED_HOST, host)
        if scheme not in {"http", "https"} or not _HOST.fullmatch(host):
            raise web.HTTPBadRequest
        return f"{scheme}://{host}"

    def _is_trusted(self, remote: str | None) -> bool:
        try:
            peer: IPv4Address | IPv6Address = ip_address(remote or "")
        except ValueError:
            return False
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self._trusted)


def _last(request: web.BaseRequest, header: str, default: str) -> str:
    values = [value.strip() for line in request.headers.getall(header, ()) for value in line.split(",")]
    return next((value for value in reversed(values) if value), default)
