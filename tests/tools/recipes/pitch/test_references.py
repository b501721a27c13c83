"""The reference trackers: one face, one grid of frames, no delay, and absence that is named."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from altervox.kernels.errors import MissingDependencyError
from altervox.kernels.salience import decode_salience
from altervox.kernels.types import FloatArray
from altervox.models.pitch.rmvpe import RMVPE
from altervox.tools.recipes.pitch import references
from altervox.tools.recipes.pitch.references import SmallRmvpe, Tracker, World


def tone(f0_hz: float, seconds: float) -> FloatArray:
    time = np.arange(round(16000 * seconds)) / 16000
    harmonics = [np.sin(2 * np.pi * k * f0_hz * time + k * k) / k for k in range(1, 16)]
    return np.asarray(0.1 * np.sum(harmonics, axis=0), dtype=np.float32)


@pytest.fixture(scope="module")
def installed() -> list[Tracker]:
    """All that are here; WORLD always is. CREPE's large network takes too long."""
    return references.load_installed([name for name in references.FACTORIES if name != "torchcrepe full"])[0]


def test_no_tracker_is_late_or_early(installed: list[Tracker]) -> None:
    delays = {tracker.name: references.glide_delay_ms(tracker) for tracker in installed}
    assert {"WORLD dio", "WORLD harvest"} <= delays.keys()
    assert all(abs(delay) < 1.0 for delay in delays.values()), delays


def test_delay_is_measured() -> None:
    class Late(World):
        def track(self, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
            f0_hz, confidence = super().track(audio)
            return np.concatenate((f0_hz[:1], f0_hz[:-1])), confidence

    assert references.glide_delay_ms(Late("dio")) == pytest.approx(10.0, abs=0.3)


@pytest.mark.parametrize("samples", [3200, 16000, 16123, 16159])
def test_frames_are_those_of_altervox(installed: list[Tracker], samples: int) -> None:
    audio = tone(200.0, 1.1)[:samples]
    for tracker in installed:
        f0_hz, confidence = tracker.track(audio)
        assert len(f0_hz) == len(confidence) == samples // 160 + 1, tracker.name
        middle = slice(8, -8)
        assert np.median(np.abs(1200 * np.log2(f0_hz[middle] / 200.0))) < 30, tracker.name
        assert (confidence[middle] > tracker.threshold).all(), tracker.name


def test_silence_is_unvoiced_for_world() -> None:
    for method in ("harvest", "dio"):
        tracker = World(method)
        _, confidence = tracker.track(np.zeros(8000, dtype=np.float32))
        assert not (confidence > tracker.threshold).any()


def test_on_frames_interpolates_but_not_across_a_leap() -> None:
    times = (np.arange(64) * 0.016).astype(np.float64)
    rising = (100.0 * 2.0**times).astype(np.float32)
    f0_hz, confidence = references.on_frames(times, rising, times.astype(np.float32), 100)
    np.testing.assert_allclose(f0_hz, 100.0 * 2.0 ** (np.arange(100) * 0.01), rtol=1e-5)
    np.testing.assert_allclose(confidence, np.arange(100) * 0.01, atol=1e-6)
    leaping = np.where(times < 0.5, 100.0, 200.0).astype(np.float32)
    f0_hz, _ = references.on_frames(times, leaping, leaping, 100)
    assert set(np.rint(f0_hz).tolist()) == {100.0, 200.0}


def test_on_frames_holds_beyond_the_ends() -> None:
    two = np.array([100.0, 101.0], dtype=np.float32)
    f0_hz, _ = references.on_frames(np.array([0.05, 0.06]), two, two, 12)
    np.testing.assert_allclose(f0_hz[[0, 5, 6, 11]], [100.0, 100.0, 101.0, 101.0], rtol=1e-6)


def test_low_band_share_tells_voice_from_hiss() -> None:
    hiss = 0.1 * np.random.default_rng(0).standard_normal(16000, dtype=np.float32)
    f0_hz = np.full(101, 200.0, dtype=np.float32)
    f0_hz[:10] = 0.0
    voice_share, hiss_share = (references.low_band_share(audio, f0_hz) for audio in (tone(200.0, 1.0), hiss))
    assert (voice_share[:10] == 0).all()
    assert (hiss_share[:10] == 0).all()
    assert voice_share[12:-3].min() > 0.95
    assert 0.4 < np.median(hiss_share[12:-3]) < 0.6


@pytest.mark.parametrize("samples", [100, 513, 12345])
def test_small_rmvpe_is_the_network_in_one_pass(samples: int) -> None:
    torch.manual_seed(0)
    model = RMVPE(4, 1, 1, 16)
    audio = tone(150.0, 1.0)[:samples]
    f0_hz, confidence = SmallRmvpe(model).track(audio)
    assert len(f0_hz) == len(confidence) == samples // 160 + 1
    if samples > 512:
        salience = model.salience(model.mel(torch.from_numpy(audio)[None]))[0].numpy()
        np.testing.assert_array_equal(f0_hz, decode_salience(salience))  # random weights: voiced throughout
        np.testing.assert_array_equal(confidence, salience.max(axis=1))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Tracker:
        raise ImportError("No module named 'nowhere'")

    monkeypatch.setattr(references, "FACTORIES", {"here": lambda: World("dio"), "gone": fail})
    found, missing = references.load_installed(["here", "gone"])
    assert [tracker.name for tracker in found] == ["WORLD dio"]
    assert list(missing) == ["gone"]
    assert "nowhere" in missing["gone"]


def test_stand_ins_leave_no_trace_and_refuse_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", references)  # anything: it must be there again afterwards
    before = set(sys.modules)
    with references._stand_ins("torchaudio", "librosa"):
        import librosa  # type: ignore[import-not-found,unused-ignore]
        from torchaudio.transforms import Resample  # type: ignore[import-not-found,unused-ignore]
    assert set(sys.modules) == before
    assert sys.modules["librosa"] is references
    calls: list[Any] = [librosa.stft, Resample]
    for call in calls:
        with pytest.raises(MissingDependencyError, match="only stood in for"):
            call(1)
