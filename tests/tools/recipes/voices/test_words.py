"""Words are compared however they were written down."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from altervox.kernels.errors import MissingDependencyError
from altervox.tools.recipes.voices.words import WordErrors, normalised, word_errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HELLO, World!", "hello world"),
        ("  It's a well-known \u201cfact\u201d\u2026 ", "its a well known fact"),
        ("It\u2019s Mr. O'Neil", "its mister oneil"),
        ("caf\u00e9", "cafe"),
        ("1900", "one thousand nine hundred"),
        ("21 of 1,250,003", "twenty one of one million two hundred fifty thousand three"),
        ("0 and 007", "zero and zero zero seven"),
        ("3.5 %", "three point five percent"),
        ("$40", "forty dollars"),
        ("1st, 2nd, 3rd, 12th, 20th and 31st", "first second third twelfth twentieth and thirty first"),
        ("1234567890123", "one two three four five six seven eight nine zero one two three"),
        ("... - '", ""),
        ("", ""),
    ],
)
def test_both_spellings_become_one(text: str, words: str) -> None:
    assert normalised(text) == words.split()
    assert normalised(words) == words.split()


def test_errors_add_up() -> None:
    total = WordErrors(1, 4) + WordErrors(2, 6)
    assert total.percent == pytest.approx(30.0)
    assert WordErrors().percent is None


def test_nothing_is_counted_without_a_reference() -> None:
    assert word_errors("...", "something") == WordErrors()


def test_a_phrase_that_is_repeated_without_end_counts_as_one_lost_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    def process_words(reference: str, heard: str) -> SimpleNamespace:
        return SimpleNamespace(substitutions=0, deletions=0, insertions=len(heard.split()) - len(reference.split()))

    monkeypatch.setitem(sys.modules, "jiwer", SimpleNamespace(process_words=process_words))
    assert word_errors("I am sorry", "I am sorry " * 40) == WordErrors(3, 3)
    assert word_errors("I am sorry", "I am so sorry") == WordErrors(1, 3)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(MissingDependencyError, match=r"jiwer.*voices-recipe"):
        word_errors("a word", "a word")
