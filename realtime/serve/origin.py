"""Which requests may control the session: those of no foreign web page, under no foreign name of this server.

A browser lets every page send requests to this computer. What gives such a page away: its `Origin`; a `Host` that is a
name of the page's own which leads here (DNS rebinding); `Sec-Fetch-Site`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from ...kernels.printable import printable
from .settings import ServerSettings

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(:[0-9]{1,5})?")
_OWN_SITES = ("none", "same-origin")


class OriginCheck:
    """Finds foreign requests.

    Args:
        settings: Settings of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        names = ("localhost", settings.address, *settings.host_names)
        self._names = {name.lower().rstrip(".") for name in names}
        # A name can be made to lead here by anybody, an address cannot: with an address the page is one of ours.
        self._any_address = not settings.is_local
        self._allowed = {origin.lower().rstrip("/") for origin in settings.origins}

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Why a request is refused, as one sentence; empty if it is not.

        Args:
            headers: Headers by names in lower case.
        """
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            return (
                f"this server is not known as {printable(host, 80)!r}: use its address, or start altervox with "
                "--host-name NAME"
            )
        if self.allowed_origin(headers):
            return ""
        origin = headers.get("origin", "").lower()
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            return f"pages of {printable(origin, 80)!r} may not control this server: --allow-origin would let them"
        if headers.get("sec-fetch-site", "none").lower() not in _OWN_SITES:
            return "other web pages may not control this server"
        return ""

    def allowed_origin(self, headers: Mapping[str, str]) -> str:
        """The foreign origin that a request comes from, if that is allowed; otherwise empty."""
        origin = headers.get("origin", "")
        return origin if origin.lower() in self._allowed else ""

    def _is_ours(self, host: str) -> bool:
        found = _AUTHORITY.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]").rstrip(".")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._any_address
