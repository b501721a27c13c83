"""Hot keys: how they are written, and what is said where they cannot be had."""

from __future__ import annotations

import sys

import pytest
from altervox.kernels.errors import MissingDependencyError, ParameterError
from altervox.kernels.extras import how_to_install
from altervox.tools.live.hotkeys import ACTIONS, DEFAULT_BINDINGS, HotKeyError, global_hot_keys, parse_bindings


def test_bindings_are_read_as_they_are_written() -> None:
    texts = ["mute=Ctrl + Alt+M", "next-voice=f9", "bypass=control+=", " TALK = win+page_up "]
    assert parse_bindings(texts) == {
        "mute": "ctrl + alt+m",
        "next voice": "f9",
        "bypass": "control+=",
        "talk": "win+page_up",
    }
    assert parse_bindings([]) == {}


def test_defaults_can_be_used() -> None:
    assert parse_bindings([f"{action}={keys}" for action, keys in DEFAULT_BINDINGS.items()]) == DEFAULT_BINDINGS


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["mute"], ["'mute'", "ACTION=KEYS"]),
        (["=f8"], ["''", *ACTIONS]),
        (["shout=f8"], ["'shout'", *ACTIONS]),
        (["mute=ctrl+mouse4"], ["'ctrl+mouse4'", "'mouse4'", "ctrl, alt, shift, cmd", "f1 to f12", "page_down"]),
        (["mute=f13"], ["'f13'", "f1 to f12"]),
        (["mute="], ["''", "f1 to f12"]),
        (["mute=ctrl++"], ["''", "f1 to f12"]),
        (["mute=ctrl+alt"], ["'ctrl+alt'", "one other key"]),
        (["mute=a+b"], ["'a+b'", "one other key"]),
        (["mute=ctrl+control+a"], ["'ctrl+control+a'", "one other key"]),
        (["mute=f8", "mute=f9"], ["'mute=f9'", "mute already has f8"]),
        (["mute=ctrl+alt+m", "talk=option+ctrl+m"], ["option+ctrl+m", "both mute and talk"]),
    ],
)
def test_mistakes_get_one_sentence(texts: list[str], words: list[str]) -> None:
    with pytest.raises(ParameterError) as error:
        parse_bindings(texts)
    assert str(error.value).startswith("hot key ")
    assert "\n" not in str(error.value)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.linux
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "DISPLAY is not set"),
        ({"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland"}, r"\(Wayland\) does not let programs see keys"),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, r"\(Wayland\) does not let programs see keys"),
        ({"DISPLAY": ":987"}, "no connection to the desktop .*:987"),
        ({"DISPLAY": "nonsense"}, "no connection to the desktop .*nonsense"),
    ],
)
def test_a_session_without_hot_keys_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HotKeyError, match=words), global_hot_keys(DEFAULT_BINDINGS):
        pass


@pytest.mark.parametrize(
    ("system", "module", "package"),
    [("linux", "Xlib", "python-xlib"), ("win32", "pynput", "pynput"), ("darwin", "pynput", "pynput")],
)
def test_a_missing_package_is_answered_with_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, system: str, module: str, package: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingDependencyError) as error, global_hot_keys(DEFAULT_BINDINGS):
        pass
    assert str(error.value) == f"hot keys need {package}: {how_to_install('hotkeys')}"
