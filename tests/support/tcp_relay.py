"""A TCP relay whose connections a test can cut, as a network does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_RESET = struct.pack("ii", 1, 0)  # close with a reset, at once


class Relay:
    """Relays connections from a port of its own to another port of this machine.

    Args:
        port: Port to relay to.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[socket.socket] = set()
        self._frozen: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection; new ones are relayed again."""
        for one in list(self._open):
            self._open.discard(one)
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.shutdown(socket.SHUT_RD)  # wakes the thread that waits for it
            one.close()

    def freeze(self) -> None:
        """Keep every connection open, and lose what is sent on it from now on; new ones are relayed."""
        self._frozen |= self._open

    def close(self) -> None:
        """Relay nothing any more."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                for one, other in ((near, far), (far, near)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                    self._open.add(one)
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if one not in self._frozen:
                    other.sendall(data)
        for end in (one, other):
            self._open.discard(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A relay to a port, closed at the end."""
    running = Relay(port)
    try:
        yield running
    finally:
        running.close()
