"""What was measured is kept for a pair of devices, and for what else the delay depends on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from altervox.kernels.errors import AudioDeviceError, OutputError
from altervox.realtime.audio.devices import Direction
from altervox.realtime.audio.loop_delay import LoopDelay
from altervox.realtime.audio.settings import StreamSpec
from altervox.tools.live import measure as live_measure
from altervox.tools.live.measure import measure_devices
from altervox.tools.live.measured import measured_delay_ms
from made_up_device import made_up_device


def spec(name: str, direction: Direction, buffer_ms: float | None = 10.0) -> StreamSpec:
    return StreamSpec(made_up_device(name, inputs=1), direction, 48000, buffer_ms)


MICROPHONE, SPEAKERS = spec("microphone", "input"), spec("speakers", "output")
HEARD = LoopDelay(43.21, 7, 0.4, -12.0, 0.1, 20.0, 20.0)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[LoopDelay]:
    """What devices would give, run for run: there are none that fail as wanted."""
    given: list[LoopDelay] = []
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    monkeypatch.setattr(live_measure, "measure_loop", lambda source, output: given.pop(0))
    return given


def test_it_is_remembered_for_this_pair_and_these_settings(runs: list[LoopDelay], tmp_path: Path) -> None:
    assert measured_delay_ms(MICROPHONE, SPEAKERS) is None
    runs += [HEARD, replace(HEARD, delay_ms=50.0), replace(HEARD, delay_ms=44.0)]
    measure_devices(MICROPHONE, SPEAKERS, as_json=False)
    measure_devices(spec("other", "input"), SPEAKERS, as_json=False)
    assert measured_delay_ms(MICROPHONE, SPEAKERS) == 43.21
    assert measured_delay_ms(spec("other", "input"), SPEAKERS) == 50.0
    for source, output in (
        (spec("third", "input"), SPEAKERS),
        (spec("microphone", "input", None), spec("speakers", "output", None)),
        (replace(MICROPHONE, rate=44100), SPEAKERS),
        (replace(MICROPHONE, exclusive=True), replace(SPEAKERS, exclusive=True)),
    ):
        assert measured_delay_ms(source, output) is None
    measure_devices(MICROPHONE, SPEAKERS, as_json=False)
    assert measured_delay_ms(MICROPHONE, SPEAKERS) == 44.0
    assert len(json.loads((tmp_path / "delays.json").read_text(encoding="utf-8"))) == 2


@pytest.mark.parametrize("damage", ["{", "7", '[3, {"input": 1}]', '[{"delay_ms": "much"}]'])
def test_a_damaged_note_counts_as_none(runs: list[LoopDelay], tmp_path: Path, damage: str) -> None:
    (tmp_path / "delays.json").write_text(damage, encoding="utf-8")
    assert measured_delay_ms(MICROPHONE, SPEAKERS) is None
    runs.append(HEARD)
    measure_devices(MICROPHONE, SPEAKERS, as_json=True)
    assert measured_delay_ms(MICROPHONE, SPEAKERS) == 43.21


def test_a_run_in_which_the_system_paused_is_repeated(runs: list[LoopDelay]) -> None:
    runs += [replace(HEARD, delay_ms=70.0, spread_ms=36.0), HEARD]
    measure_devices(MICROPHONE, SPEAKERS, as_json=True)
    assert measured_delay_ms(MICROPHONE, SPEAKERS) == 43.21
    runs += [replace(HEARD, delay_ms=70.0, spread_ms=s) for s in (36.0, 3.0, 9.0)]
    measure_devices(MICROPHONE, SPEAKERS, as_json=True)
    assert measured_delay_ms(MICROPHONE, SPEAKERS) == 70.0


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (LoopDelay(None, 0, 0.0, 0.0, 0.0, 20.0, 20.0), "does not hear the output 'speakers': only digital silence"),
        (LoopDelay(None, 0, 0.0, 0.0, 0.01, 20.0, 20.0), r"what came in \(-40 dB at most\) holds nothing of it"),
        (LoopDelay(None, 3, 500.0, -40.0, 0.1, 20.0, 20.0), "in 3 of 7 tries, at delays 500 ms apart"),
    ],
)
def test_no_result_says_why_and_is_not_remembered(runs: list[LoopDelay], run: LoopDelay, said: str) -> None:
    runs += [run] * 3
    with pytest.raises(AudioDeviceError, match=said):
        measure_devices(MICROPHONE, SPEAKERS, as_json=False)
    assert measured_delay_ms(MICROPHONE, SPEAKERS) is None


def test_a_folder_that_cannot_be_written(
    runs: list[LoopDelay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "file"))
    runs.append(HEARD)
    with pytest.raises(OutputError, match="ALTERVOX_HOME"):
        measure_devices(MICROPHONE, SPEAKERS, as_json=False)


def test_a_note_of_an_older_kind_is_for_nobody(runs: list[LoopDelay], tmp_path: Path) -> None:
    """Callbacks of a fixed size made another delay; a device of another host API has no buffer of its own today."""
    pair = spec("microphone", "input", None), spec("speakers", "output", None)
    runs.append(HEARD)
    measure_devices(*pair, as_json=False)
    noted = json.loads((tmp_path / "delays.json").read_text(encoding="utf-8"))
    for side in ("input", "output"):
        del noted[0][f"{side}_buffer_ms"]
        noted[0][f"{side}_frames"] = 480
    (tmp_path / "delays.json").write_text(json.dumps(noted), encoding="utf-8")
    assert measured_delay_ms(*pair) is None
