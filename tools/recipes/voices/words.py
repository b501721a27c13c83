"""Words as they are compared: spelled the same way whoever wrote them down, and errors counted."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from .meters import package

_ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS = re.findall(r"\w+", "zero ten twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ((1_000_000_000, "billion"), (1_000_000, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS["twelve"] = "twelfth"
_SHORT = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "vs": "versus", "okay": "ok"}
_SIGNS = {"%": " percent ", "&": " and ", "$": " dollars ", "£": " pounds ", "€": " euros ", "+": " plus "}
_MOST_DIGITS = 12  # a longer number is spelled digit by digit


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Words that were heard wrongly.

    Attributes:
        errors: Words that were replaced, left out or added.
        words: Words of the references.
    """

    errors: int = 0
    words: int = 0

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(self.errors + other.errors, self.words + other.words)

    @property
    def percent(self) -> float | None:
        """The word error rate in percent; None without words."""
        return 100.0 * self.errors / self.words if self.words else None


def normalised(text: str) -> list[str]:
    """The words of an English text in lower case, without punctuation, numbers and a few short forms written out."""
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(c for c in text if not unicodedata.combining(c)).replace("\u2019", "'")
    text = re.sub(r"(\d),(?=\d{3}\b)", r"\1", text)
    text = re.sub(r"([$£€])(\d[\d.]*)", r"\2\1", text)
    text = re.sub(r"(\d)\.(\d)", r"\1 point \2", text)
    text = re.sub(r"(\d+)(st|nd|rd|th)\b", lambda m: f" {_ordinal(m.group(1))} ", text)
    text = re.sub(r"\d+", lambda m: f" {_spelled(m.group())} ", text)
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    text = re.sub(r"'", "", text)
    return [_SHORT.get(word, word) for word in re.findall(r"[^\W_]+", text)]


def word_errors(reference: str, heard: str) -> WordErrors:
    """Count what was heard wrongly; nothing is counted where the reference has no words.

    As many errors as the reference has words are the most that count: a recogniser that has lost its way may repeat a
    phrase without end, and one clip would outweigh all others.

    Raises:
        MissingDependencyError: jiwer is not installed.
    """
    said, got = normalised(reference), normalised(heard)
    if not said:
        return WordErrors()
    found = package("jiwer").process_words(" ".join(said), " ".join(got))
    return WordErrors(min(found.substitutions + found.deletions + found.insertions, len(said)), len(said))


def _spelled(digits: str) -> str:
    """A whole number in words: "1900" is "one thousand nine hundred"."""
    if len(digits) > _MOST_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(_ONES[int(digit)] for digit in digits)
    return " ".join(_number(int(digits)))


def _number(value: int) -> list[str]:
    if value < 20:
        return [_ONES[value]]
    if value < 100:
        return [_TENS[value // 10], *([_ONES[value % 10]] if value % 10 else [])]
    scale, name = next((scale, name) for scale, name in _SCALES if value >= scale)
    return [*_number(value // scale), name, *(_number(value % scale) if value % scale else [])]


def _ordinal(digits: str) -> str:
    *before, last = _spelled(digits).split()
    if last not in _ORDINALS:
        _ORDINALS[last] = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*before, _ORDINALS[last]])
