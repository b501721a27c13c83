"""What clients get to know of a session holds no path of the file system."""

from __future__ import annotations

from pathlib import Path

import pytest
from altervox.realtime.serve.facts import without_folders


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/a/b.wav cannot be written: disk full", "b.wav cannot be written: disk full"),
        ("the file '/srv/My Music/in.wav' is gone", "the file 'in.wav' is gone"),
        ("voice /srv/v/x.pth: damaged", "voice x.pth: damaged"),
        (r"C:\Users\John Smith\Music\x.wav is open", "x.wav is open"),
        (r"C:\a b\x.wav and D:\c d\y.wav", "x.wav and y.wav"),
        ("C:/Users/me/x.wav", "x.wav"),
        (r"\\server\share\x.wav", "x.wav"),
        ("see ~/.cache/log.txt", "see log.txt"),
        ("(/srv/x)", "(x)"),
        ("a mix of 50/50, 16/48 kHz, and/or more", "a mix of 50/50, 16/48 kHz, and/or more"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("blocks \x1b[31mof\n80 ms", "blocks of 80 ms"),
        ("", ""),
    ],
)
def test_messages_name_files_without_their_folders(text: str, shown: str) -> None:
    assert without_folders(text) == shown


def test_the_home_folder_is_never_shown() -> None:
    assert without_folders(f"{Path.home()} is full") in ("~ is full", " is full".strip())
    assert str(Path.home()) not in without_folders(f"x={Path.home()}/Music/in.wav")
