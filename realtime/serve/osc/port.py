"""Reads packets on a thread of its own, at a bounded rate: what comes faster is lost in the system."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..bucket import Bucket
from .packets import MOST_BYTES, Malformed, Message, read_packet

_READ_PER_S, _READ_AT_ONCE = 10_000.0, 2_000.0  # packets: an avatar with face tracking sends thousands a second
_PARSED_PER_S, _PARSED_AT_ONCE = 400.0, 400.0  # packets of which something is wanted
_MOST_WAITING = 256  # messages
_PAUSE_S = 0.01
_POLL_S = 0.25


@dataclass(slots=True)
class Arrived:
    """What has come since it was asked for last.

    Attributes:
        messages: Messages, in their order.
        malformed: Packets that were no OSC.
        dropped: Packets that came too fast.
    """

    messages: list[Message] = field(default_factory=list)
    malformed: int = 0
    dropped: int = 0


class OscPort:
    """A UDP port.

    Args:
        listening: A socket that is bound.
        is_wanted: Whether anything is done with messages to an address.
        notify: Called on the thread when there is something to take.
    """

    def __init__(
        self, listening: socket.socket, is_wanted: Callable[[str], bool], notify: Callable[[], object]
    ) -> None:
        self._listening = listening
        self._is_wanted = is_wanted
        self._notify = notify
        self._lock = threading.Lock()
        self._arrived = Arrived()
        self._is_told = False
        self._is_ending = threading.Event()
        listening.settimeout(_POLL_S)
        self._thread = threading.Thread(target=self._run, name="altervox-osc", daemon=True)
        self._thread.start()

    def take(self) -> Arrived:
        """What has come since the last call."""
        with self._lock:
            arrived, self._arrived, self._is_told = self._arrived, Arrived(), False
        return arrived

    def stop(self) -> None:
        """End the thread."""
        self._is_ending.set()
        self._thread.join(4 * _POLL_S)

    def _run(self) -> None:
        reads = Bucket(time.monotonic(), _READ_PER_S, _READ_AT_ONCE)
        parses = Bucket(time.monotonic(), _PARSED_PER_S, _PARSED_AT_ONCE)
        while not self._is_ending.is_set():
            try:
                data = self._listening.recv(MOST_BYTES + 1)
            except TimeoutError:
                continue
            except OSError:
                if self._is_ending.wait(_PAUSE_S):  # the socket has been closed
                    return
                continue
            now_s = time.monotonic()
            if not reads.takes(1, now_s):
                time.sleep(_PAUSE_S)
            # Nearly all that an avatar sends is of no interest, and must not use up what the rest is allowed.
            if data.startswith(b"/") and not self._is_wanted(data.partition(b"\0")[0].decode(errors="replace")):
                continue
            self._put(data if parses.takes(1, now_s) else None)

    def _put(self, data: bytes | None) -> None:
        messages: list[Message] = []
        is_malformed = False
        if data is not None:
            try:
                messages = [message for message in read_packet(data) if self._is_wanted(message[0])]
            except Malformed:
                is_malformed = True
        with self._lock:
            is_full = len(self._arrived.messages) + len(messages) > _MOST_WAITING
            if not is_full:
                self._arrived.messages += messages
            self._arrived.dropped += data is None or is_full
            self._arrived.malformed += is_malformed
            is_first, self._is_told = not self._is_told, True
        if is_first:
            self._notify()
