"""The registry of stages: the kind of a voice decides which stage renders it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import cast

import pytest
from altervox.kernels.errors import VoiceError
from altervox.models import load_voice
from altervox.models.voice import Voice
from altervox.realtime import stages
from altervox.realtime.config import StreamConfig
from altervox.realtime.engine import Engine


@dataclasses.dataclass
class Described:
    name: str
    kind: str
    speakers: int = 1
    uses: frozenset[str] = frozenset({"pitch_semitones"})
    lengths: dict[str, int] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize("kind", ["nerual", "", "no such kind"])
def test_a_kind_without_a_stage_is_refused_in_one_sentence(kind: str) -> None:
    with pytest.raises(VoiceError, match=r"^echo cannot be streamed"):
        Engine(cast(Voice, Described("echo", kind)))


def test_a_new_kind_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stages.make_stage(load_voice("woman"), StreamConfig(), "auto")
    monkeypatch.setitem(stages.STAGES, "new", lambda voice, config, method: made)
    assert Engine(cast(Voice, Described("echo", "new"))).stage is made


def test_a_voice_that_changes_nothing_has_no_stage_and_loads_no_network() -> None:
    code = (
        "import sys; from altervox.models import load_voice; from altervox.realtime.engine import Engine;"
        "assert Engine(load_voice('off')).stage is None; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
