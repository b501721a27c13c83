"""Where OSC listens and sends to, and maps of avatars: what is accepted, and in what words the rest is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from altervox.kernels.errors import ParameterError
from altervox.realtime.serve.osc.settings import Control, Endpoint, OscMap


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("9001", "127.0.0.1:9001"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("localhost:7", "127.0.0.1:7"),
        ("[::1]:9001", "[::1]:9001"),
    ],
)
def test_endpoints(text: str, shown: str) -> None:
    assert str(Endpoint.read(text, "--osc-in")) == shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--osc-in : give a port"),
        ("voice", "give a port, such as 9001"),
        ("127.0.0.1", "give a port, such as 9001"),
        ("127.0.0.1:0", "give a port from 1 to 65535"),
        ("70000", "give a port from 1 to 65535"),
        ("0.0.0.0:9001", "on this computer only"),
        ("192.168.1.5:9001", "on this computer only"),
        ("example.org:9001", "give a port"),
    ],
)
def test_other_endpoints_are_refused(text: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        Endpoint.read(text, "--osc-in")


def test_a_map(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(
        """
        voices = ["woman", "robot"]
        [parameters]
        VoiceNumber = "voice"
        "Head/Muffled" = "mute"
        Size = { set = "pitch", from = [-1, 1], to = [6, -6] }
        Loud = { set = "gain_db" }
        [avatars]
        avtr_1 = "robot"
        """
    )
    found = OscMap.read(path)
    assert found.voices == ("woman", "robot")
    assert found.avatars == {"avtr_1": "robot"}
    assert found.parameters["VoiceNumber"] == Control("voice")
    assert found.parameters["Head/Muffled"].is_switch
    assert found.parameters["Loud"].target == (-60.0, 24.0)
    size = found.parameters["Size"]
    assert [size.to_session(value) for value in (-1, 0, 1, 7)] == [6.0, 0.0, -6.0, -6.0]
    assert [size.to_avatar(value) for value in (6, 0, -6, -36)] == [-1.0, 0.0, 1.0, 1.0]
    path.write_text("[avatars]\n")
    assert OscMap.read(path).parameters == OscMap().parameters


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("voices = [", "is not valid TOML"),
        ("\udcff", "is not valid TOML"),
        ("x = 1", "'x' is none of voices, "),
        ('voices = "woman"', "voices is a list of names"),
        ("voices = [1]", "voices is a list of names"),
        ("parameters = 3", r"\[parameters\] is a table"),
        ("[avatars]\na = 1", "must be the name of a voice in quotes"),
        ("[parameters]\nA = 1", 'A: write "voice", "mute" or'),
        ("[parameters]\nA = { from = [0, 1] }", 'A: write "voice", "mute" or'),
        ('[parameters]\nA = "pich"', "sets 'pich'; choose one of voice, pitch"),
        ('[parameters]\nA = { set = ["x"] }', 'A: write "voice", "mute" or'),
        ('[parameters]\nA = { set = "mute", to = [0, 1] }', "mute takes neither from nor to"),
        ('[parameters]\nA = { set = "pitch", to = [0, 99] }', "to must be two different numbers from -36 to 36"),
        ('[parameters]\nA = { set = "pitch", from = [1, 1] }', "from must be two different numbers, such as"),
        ('[parameters]\nA = { set = "pitch", from = [nan, 1] }', "from must be two different numbers"),
        ('[parameters]\nA = { set = "pitch", from = [true, 1] }', "from must be two different numbers"),
        ('[parameters]\nA = { set = "pitch", to = 12 }', "to must be two different numbers"),
        ("#" * 70_000, "at most 64 KiB"),
        ("[parameters]\n" + "".join(f'a{n} = "mute"\n' for n in range(300)), "at most 256 lines"),
    ],
)
def test_maps_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "map.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ParameterError, match=said):
        OscMap.read(path)


def test_the_map_of_the_docs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs" / "remote.md").read_text(encoding="utf-8")
    path = tmp_path / "vrchat.toml"
    path.write_text(page.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    found = OscMap.read(path)
    assert found.voices == ("off", "woman", "robot")
    assert found.parameters["Size"].to_session(1.0) == -7.0
    assert list(found.avatars.values()) == ["robot"]


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="No such file"):
        OscMap.read(tmp_path / "nowhere.toml")
