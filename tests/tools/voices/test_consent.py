"""No voice is made unless somebody says that its speaker agrees."""

from __future__ import annotations

import io
import sys

import pytest
from altervox.kernels.errors import AltervoxError
from altervox.tools.voices.consent import consent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_a_script_says_is_kept() -> None:
    kept = consent("  Anna agreed\n by letter\x1b[31m ")
    assert "Anna agreed by letter" in kept
    assert "\x1b" not in kept
    assert kept.isprintable()


@pytest.mark.parametrize("text", ["", "  ", "?!", "a" * 301])
def test_a_text_that_says_nothing_or_too_much(text: str) -> None:
    with pytest.raises(AltervoxError, match="--consent"):
        consent(text)


def test_without_a_terminal_nobody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Anna\ny\n"))
    with pytest.raises(AltervoxError, match="--consent") as refusal:
        consent(None)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(("answer", "is_agreed"), [("y", True), ("n", False), ("", False)])
def test_a_person_is_asked_in_plain_words(
    answer: str, is_agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(f"Anna Muster\n{answer}\n"))
    if is_agreed:
        kept = consent(None)
        assert "Anna Muster" in kept
        assert "answered yes" in kept
    else:
        with pytest.raises(AltervoxError, match="without the consent of Anna Muster no voice is made"):
            consent(None)
    asked = capsys.readouterr()
    assert asked.out == "", "it may be JSON"
    assert "Does Anna Muster consent" in asked.err
