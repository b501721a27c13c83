"""`altervox cable` on a real sound server: made whole from whatever is there, removed without touching the rest."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from altervox.tools.devices import cable
from cli_runner import Outcome, altervox, altervox_process
from pulse import RATE, PulseServer, compare, pulse_server

SINK = ("module-null-sink", "sink_name=altervox_cable", "rate=44100")
SOURCE = ("module-remap-source", "source_name=altervox_microphone")
BYSTANDERS = (
    "module-null-sink sink_name=altervox_cable_of_mine rate=48000",
    "module-remap-source master=altervox_cable_of_mine.monitor source_name=my_altervox_microphone",
)


@pytest.fixture
def server(pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    """A server with a cable that is not altervox's, but called nearly as altervox's is."""
    with pulse_server(tmp_path / "server", BYSTANDERS) as started:
        for name, value in {**started.variables, "ALTERVOX_HOME": str(tmp_path), "ALSA_CONFIG_PATH": ""}.items():
            monkeypatch.setenv(name, value)
        yield started


def whole() -> Outcome:
    done = altervox("cable", "status", "--json")
    assert done.json == [{"play_into": "altervox cable", "listen_to": "altervox microphone", "rate": 48000}]
    return done


@pytest.mark.linux
def test_made_twice_and_removed_twice(server: PulseServer) -> None:
    before = server.pactl("list", "short", "modules")
    first = altervox("cable", "create")
    assert (first.code, first.err) == (0, "")
    assert "the cable is ready" in first.out
    assert "choose 'altervox microphone' to be heard" in first.out
    made = server.pactl("list", "short", "modules")
    second = altervox("cable", "create")
    assert second.code == 0
    assert "was there already" in second.out
    assert server.pactl("list", "short", "modules") == made
    assert whole().code == 0

    assert altervox("cable", "remove").out == "the cable is removed\n"
    assert server.pactl("list", "short", "modules") == before
    again = altervox("cable", "remove")
    assert (again.code, again.out) == (0, "there was no cable to remove\n")
    missing = altervox("cable", "status")
    assert (missing.code, missing.out) == (1, "there is no cable\nmake one with: altervox cable create\n")


@pytest.mark.linux
@pytest.mark.parametrize("state", ["no source", "no sink", "a source that hears another sink"])
def test_half_made_cables_are_made_whole(server: PulseServer, state: str) -> None:
    assert altervox("cable", "create").code == 0
    numbers = [line.split("\t")[0] for line in server.pactl("list", "short", "modules").splitlines()]
    sink, source = numbers[-2:]
    server.pactl("unload-module", sink if state == "no sink" else source)
    if state == "a source that hears another sink":
        server.pactl("load-module", *SOURCE, "master=altervox_cable_of_mine.monitor")
    half = altervox("cable", "status")
    assert half.code == 1
    if state != "no sink":
        assert half.out.startswith("only half of the cable is there: altervox cable\n")
    assert altervox("cable", "create").code == 0
    whole()
    names = server.names("sources")
    assert names.count("altervox_microphone") == 1
    assert not [name for name in names + server.names("sinks") if name.startswith("altervox_") and name[-1].isdigit()]


@pytest.mark.linux
def test_a_sink_of_another_rate_is_kept_and_its_rate_said(server: PulseServer) -> None:
    server.pactl("load-module", *SINK)
    assert altervox("cable", "create").code == 0
    assert "at 44100 Hz" in altervox("cable", "status").out


@pytest.mark.linux
def test_what_is_played_into_it_comes_out_of_its_microphone(server: PulseServer) -> None:
    assert altervox("cable", "create").code == 0
    noise = np.random.default_rng(2).uniform(-0.3, 0.3, RATE)
    for _ in range(3):
        with server.record("altervox_cable.monitor"), server.record("altervox_microphone") as heard:
            server.play(noise, "altervox_cable")
            heard.wait_for(2.2)
        result = compare(noise, heard.samples)
        if result.bad_frames == 0:
            break
    assert (result.bad_frames, result.frames, result.missing) == (0, 100, 0)
    assert result.gain == pytest.approx(1, abs=0.01)


@pytest.mark.linux
def test_it_is_listed_and_chosen_as_altervoxs_own(server: PulseServer) -> None:
    assert altervox("cable", "create").code == 0
    rows = {row["system_name"]: row for row in altervox_process("devices", "--json").json}
    assert rows["altervox_cable"]["cable"] == "altervox cable"
    assert rows["altervox_cable"]["listening_name"] == "altervox microphone"
    assert rows["altervox_microphone"]["name"] == "altervox microphone"
    assert rows["altervox_cable_of_mine"]["cable"] == "null sink"


@pytest.mark.linux
def test_a_name_that_something_else_has_is_refused(server: PulseServer, tmp_path: Path) -> None:
    server.pactl("load-module", "module-pipe-sink", "sink_name=altervox_cable", f"file={tmp_path / 'fifo'}")
    refused = altervox("cable", "create")
    assert refused.code == 1
    assert refused.complaints == [
        "altervox: an output that is not a virtual cable is called altervox_cable: rename it or remove it"
    ]
    assert altervox("cable", "remove").out == "there was no cable to remove\n"
    assert "altervox_cable" in server.names("sinks"), "it is not ours"


@pytest.mark.linux
@pytest.mark.parametrize("action", ["create", "remove", "status"])
def test_without_a_server_or_pactl_one_sentence_says_what_to_do(action: str, tmp_path: Path) -> None:
    nowhere = altervox_process("cable", action, env={"PULSE_SERVER": f"unix:{tmp_path / 'nowhere'}"})
    assert nowhere.code == 1
    (sentence,) = nowhere.err.splitlines()
    assert sentence.startswith("altervox: no sound server answers (Connection refused; PULSE_SERVER is unix:")
    assert "): start PipeWire with " in sentence
    without = altervox_process("cable", action, env={"PATH": str(tmp_path)})
    (sentence,) = without.err.splitlines()
    assert sentence.startswith("altervox: pactl, which asks")
    assert "sudo apt install pulseaudio-utils" in sentence


@pytest.mark.linux
def test_a_server_that_refuses_is_quoted(server: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pactl, but for loading modules, which some servers forbid."""
    stand_in = tmp_path / "bin" / "pactl"
    stand_in.parent.mkdir()
    real = shutil.which("pactl")
    stand_in.write_text(
        f'#!/bin/sh\nif [ "$1" = load-module ]; then echo "Failure: Access denied" >&2; exit 1; fi\nexec {real} "$@"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(stand_in.parent), prepend=":")
    refused = altervox("cable", "create")
    assert refused.code == 1
    (sentence,) = refused.complaints
    assert "refuses `pactl load-module module-null-sink" in sentence
    assert sentence.endswith("Failure: Access denied")


@pytest.mark.linux
def test_half_a_cable_is_taken_back_if_the_other_half_is_refused(
    server: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server.pactl("list", "short", "modules")
    stand_in = tmp_path / "bin" / "pactl"
    stand_in.parent.mkdir()
    real = shutil.which("pactl")
    stand_in.write_text(
        f'#!/bin/sh\nif [ "$2" = module-remap-source ]; then echo "Failure: no" >&2; exit 1; fi\nexec {real} "$@"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(stand_in.parent), prepend=":")
    assert altervox("cable", "create").code == 1
    assert server.pactl("list", "short", "modules") == before


@pytest.mark.linux
def test_what_else_a_session_needs_is_said_in_one_line(server: PulseServer, tmp_path: Path) -> None:
    assert "needs more" not in altervox("cable", "create").out
    without = altervox_process("cable", "create", env={"ALSA_PLUGIN_DIR": str(tmp_path)})
    assert (without.code, without.err) == (0, "")
    assert "`altervox live` needs more than that: sudo apt install libasound2-plugins (" in without.out


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("win32", ["https://vb-audio.com/Cable/", "48000 Hz", '"CABLE Output"']),
        ("darwin", ["https://existential.audio/blackhole/", "48,000 Hz", '"BlackHole 2ch"']),
    ],
)
def test_other_systems_are_told_what_to_install(
    system: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert cable.create() == 1
    said = capsys.readouterr().out
    assert all(word in said for word in [*words, "Discord", "OBS"])
    assert cable.remove() == 1
