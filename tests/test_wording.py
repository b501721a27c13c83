"""Code and docs use the field's terms: words that were replaced by a standard one do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "run.py",
    *sorted((ROOT / "docs").glob("*.md")),
    *(path for folder in ("kernels", "models", "realtime", "tools") for path in sorted((ROOT / folder).rglob("*.py"))),
]
# The retired expression and the term that takes its place.
RETIRED = {
    r"shortages?": "underrun",
    r"starv(ed|es|ing)": "underrun",
    r"(finds?|found) too little": "underrun",
    r"(finds?|found) no room": "overrun",
    r"(is|are|was|were) no number": "NaN or infinite",
    r"belated(ly)?": "stale",
    r"look-ahead": "lookahead",
    r"likeness": "normalised cross-correlation",
    r"resonances": "formants",
    r"seams?": "block boundary",
    r"made-up": "synthetic",
    r"unless told": "default",
    r"(can|cannot|not to) be had": "obtained, unavailable",
    r"(told|displayed) (delay|latency)": "reported latency",
}


@pytest.mark.parametrize("retired", RETIRED)
def test_retired_words_are_gone(retired: str) -> None:
    words = r"\s+".join(retired.split(" "))
    pattern = re.compile(rf"\b{words}\b", flags=re.IGNORECASE)
    found = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(ROOT)}:{text[: m.start()].count(chr(10)) + 1}" for m in pattern.finditer(text)]
    assert not found, f"write {RETIRED[retired]!r} instead: {', '.join(found)}"


def test_no_attribute_is_described_by_its_neighbour() -> None:
    """Each description makes sense without the line beside it, which "Of the output." does not."""
    telegram = re.compile(r"^ +\w+: (Of (the|a|an|it|its|what|both|these)\b|The same\b|Likewise\b)", flags=re.MULTILINE)
    found = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(ROOT)}: {m.group().strip()}" for m in telegram.finditer(text)]
    assert not found, "\n".join(found)
