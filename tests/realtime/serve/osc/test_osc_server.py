"""OSC on real sockets, beside the other protocol: feedback, floods, and ports that are taken."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from altervox.kernels.errors import ServerError
from altervox.realtime.serve.osc.packets import Value, read_packet
from altervox.realtime.serve.osc.settings import Endpoint, OscSettings
from pythonosc.udp_client import SimpleUDPClient
from remote_sockets import Client, Served, serving, until


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


class Osc:
    """A server with OSC, a program that sends to it, and one that listens."""

    def __init__(self, served: Served, port: int, listening: socket.socket) -> None:
        self.served = served
        self.port = port
        self.client = SimpleUDPClient("127.0.0.1", port)
        self.listening = listening
        listening.settimeout(10.0)

    def heard(self, address: str) -> Value:
        """The value of the next message to an address."""
        while True:
            for found, values in read_packet(self.listening.recv(4096)):
                if found == address:
                    return values[0]


@pytest.fixture
def osc(tmp_path: Path) -> Iterator[Osc]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        port, out = free_port(), listening.getsockname()[1]
        settings = OscSettings(Endpoint("127.0.0.1", port), (Endpoint("127.0.0.1", out),))
        with serving(tmp_path, osc=settings) as served:
            yield Osc(served, port, listening)


def test_it_controls_the_session_that_others_control(osc: Osc) -> None:
    with osc.served.client() as panel:
        panel.ask("subscribe", topics={"state": {}})
        panel.event("state")
        panel.ask("voices")  # numbers of voices mean something once the list has been read
        osc.client.send_message("/avatar/parameters/AltervoxVoice", 3)
        event = panel.event("state")
        assert event["data"]["voice"] == "robot"
        assert event["by"] == "OSC"
        assert osc.heard("/altervox/voice") == "robot"
        panel.ask("set", pitch=6)
        assert osc.heard("/avatar/parameters/AltervoxPitch") == 0.5
        panel.ask("toggle", name="mute")
        assert osc.heard("/avatar/parameters/AltervoxMute") is True


def test_a_flood_harms_nobody(osc: Osc) -> None:
    with osc.served.client() as panel, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        panel.ask("subscribe", topics={"log": {}})
        packets = (b"\xff" * 64, b"#bundle\0" + b"\xff" * 16, b"/altervox/x\0,\0\0\0", b"/avatar/parameters/X\0\0\0\0")
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            for packet in packets * 100:
                flood.sendto(packet, ("127.0.0.1", osc.port))
            assert panel.ask("ping")["ok"]
            time.sleep(0.01)  # of pings there must not be too many either
        until(lambda: is_set(osc, panel))
        panel.ask("subscribe", topics={"log": {}})
        line = panel.event("log", lambda event: "malformed packets dropped" in event["data"]["text"])
        assert line["data"]["text"].startswith("OSC: ")
        assert panel.ask("set", pitch=0)["ok"]


def is_set(osc: Osc, panel: Client) -> bool:
    osc.client.send_message("/altervox/pitch", 2.0)
    return bool(panel.ask("get")["result"]["pitch"] == 2.0)


def test_what_nobody_listens_to_is_sent_in_vain(tmp_path: Path) -> None:
    settings = OscSettings(sends=(Endpoint("127.0.0.1", free_port()), Endpoint("127.0.0.1", free_port())))
    with serving(tmp_path, osc=settings) as served, served.client() as panel:
        for pitch in range(5):
            assert panel.ask("set", pitch=pitch)["ok"]
        assert served.server.faces.described[0].startswith("OSC: sends to 127.0.0.1:")


def test_a_port_that_is_taken(osc: Osc, tmp_path: Path) -> None:
    settings = OscSettings(Endpoint("127.0.0.1", osc.port))
    said = f"--osc-in 127.0.0.1:{osc.port}: another program listens there"
    with pytest.raises(ServerError, match=said), serving(tmp_path / "second", osc=settings):
        pass
