"""Room for connections, which no stranger can take from everybody else."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

_SHARE = 4  # of all places, the part that one address may take, and that is kept for this machine


def has_room(taken: Collection[str], peer: str, most: int) -> bool:
    """Whether one more connection from an address is let in.

    This machine may take all places, another address a quarter, and all other addresses together three quarters.

    Args:
        taken: Addresses of those that are there.
        peer: Address of the one that comes.
        most: How many there may be.
    """
    if is_this_machine(peer):
        return len(taken) < most
    others = sum(not is_this_machine(address) for address in taken)
    return len(taken) < most and others < most - most // _SHARE and list(taken).count(peer) < most // _SHARE


def is_this_machine(address: str) -> bool:
    """Whether it is an address of loopback."""
    try:
        found = ipaddress.ip_address(address.removeprefix("::ffff:"))
    except ValueError:
        return False
    return found.is_loopback
