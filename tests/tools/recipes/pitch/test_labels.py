"""Labels: what is known of measured F0, and that what was put into speech is where the label says."""

from pathlib import Path

import numpy as np
import pytest
from altervox.tools.recipes.pitch import contours
from altervox.tools.recipes.pitch.corpus import HOP, SINGERS, Clip, build_singers, read_clips, write_clip
from altervox.tools.recipes.pitch.labels import Track, cents_between, measured_track, smooth_contour, voiced_runs
from altervox.tools.recipes.pitch.resynthesis import (
    additive_voice,
    analyse,
    predicted_speech,
    stretched,
    world_speech,
)
from altervox.tools.recipes.pitch.speech import seeded

RATE = 24000
FRAME = 120


def glide(frames: int, low_hz: float = 110.0, high_hz: float = 330.0) -> np.ndarray:
    return np.geomspace(low_hz, high_hz, frames)


def buzz(f0_hz: np.ndarray) -> np.ndarray:
    """Thirty harmonics of an F0 every 5 ms."""
    per_sample = np.interp(np.arange(len(f0_hz) * FRAME) / FRAME, np.arange(len(f0_hz)), f0_hz)
    phase = 2 * np.pi * np.cumsum(per_sample) / RATE
    return np.asarray(0.2 * np.sum([np.cos(k * phase) / k for k in range(1, 30)], axis=0), dtype=np.float32)


def lag_ms(audio: np.ndarray, f0_hz: np.ndarray) -> float:
    """How much later the F0 of audio is than an F0 every 5 ms, by its measured track."""
    track = measured_track(audio.astype(np.float32))
    n = min(len(track.f0_hz), len(f0_hz))
    times = np.arange(n) * 5.0
    known = track.known[:n] & (track.f0_hz[:n] > 0) & (f0_hz[:n] > 0)
    assert known.mean() > 0.3

    def distance(shift: float) -> float:
        return float(np.median(np.abs(np.log(np.interp(times - shift, times, f0_hz[:n]) / track.f0_hz[:n])[known])))

    return min(np.arange(-15.0, 15.5, 0.5), key=distance)


def test_measured_track_follows_a_glide_and_knows_it() -> None:
    truth = glide(400)
    track = measured_track(buzz(truth))
    inner = slice(10, 390)
    assert track.known[inner].mean() > 0.95
    distance = cents_between(track.f0_hz[:400], truth)[inner][track.known[inner]]
    assert np.quantile(distance, 0.95) < 10.0


@pytest.mark.parametrize("alternation", [0.02, 0.05, 0.1])
def test_an_octave_error_is_not_known(alternation: float) -> None:
    """Each second period a little weaker, as in creaky voices: an estimate of half the F0 must not count."""
    truth = np.full(400, 240.0)
    n = np.arange(400 * FRAME)
    creaky = buzz(truth) * (1.0 + alternation * np.sign(np.sin(2 * np.pi * 120.0 * n / RATE + 0.3)))
    track = measured_track(creaky.astype(np.float32))
    wrong = (track.f0_hz[:400] > 0) & (cents_between(track.f0_hz[:400], truth) > 50.0) & track.known[:400]
    assert not wrong.any()


def test_noise_is_not_known_to_be_voiced() -> None:
    track = measured_track(np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.1)
    assert not (track.known & (track.f0_hz > 0)).any()


def test_contour_bridges_gaps_and_drops_doubtful_stretches() -> None:
    f0 = np.concatenate((np.zeros(5), np.full(20, 100.0), np.zeros(5), np.full(20, 200.0), np.zeros(5)))
    known = f0 > 0
    known[10:14] = False
    f0[10:14] = 400.0
    known[30:45] = False  # most of the second stretch
    contour = smooth_contour(Track(f0, known))
    assert voiced_runs(contour) == [slice(5, 25)]
    np.testing.assert_allclose(contour[5:25], 100.0)


@pytest.mark.parametrize("kind", ["world", "predicted", "additive"])
def test_speech_has_the_f0_that_was_put_in_where_the_label_says(kind: str) -> None:
    f0 = 150.0 * 2.0 ** (0.5 * np.sin(2 * np.pi * np.arange(600) / 200.0))
    model = buzz(np.full(600, 130.0)) + 0.01 * np.random.default_rng(1).standard_normal(600 * FRAME).astype(np.float32)
    rng = np.random.default_rng(2)
    if kind == "world":
        found = analyse(model, np.full(601, 130.0))
        audio, label = world_speech(found, np.append(f0, f0[-1]), 1.1)
        assert (label[20:580] > 0).mean() > 0.9
    else:
        audio = predicted_speech(model, f0, rng) if kind == "predicted" else additive_voice(f0, rng)
    assert abs(lag_ms(0.3 * audio / np.abs(audio).max(), f0)) <= 1.5


def test_what_is_noise_only_is_labelled_unvoiced() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(400 * FRAME).astype(np.float32) * 0.1
    found = analyse(noise, np.full(401, 120.0))
    _, label = world_speech(found, np.full(401, 120.0))
    assert (label > 0).mean() < 0.1


def test_stretching_keeps_frames_together() -> None:
    found = analyse(buzz(glide(200)), np.append(glide(200), 330.0))
    slow = stretched(found, 1.7)
    assert len(slow.contour_hz) == len(slow.power) == len(slow.aperiodicity) == int(201 * 1.7)
    assert np.all(np.diff(slow.contour_hz) >= 0)


@pytest.mark.parametrize("seed", range(20))
def test_contours_stay_within_the_trained_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f0 = np.where(np.arange(500) % 100 < 70, glide(500, 60, 550), 0.0)
    spoken = contours.spoken(f0, rng)
    assert np.array_equal(spoken > 0, f0 > 0)
    for contour in (spoken[spoken > 0], contours.sung(500, rng)):
        assert contour.min() >= contours.LOWEST_HZ
        assert contour.max() <= contours.HIGHEST_HZ


def test_clips_come_back_as_they_were(tmp_path: Path) -> None:
    audio = (np.random.default_rng(0).uniform(-0.5, 0.5, 1000)).astype(np.float32)
    clip = Clip("a", audio, np.arange(7, dtype=np.float32), np.arange(7) % 2 == 0, "heart", "raw")
    write_clip(tmp_path, "train", clip)
    (back,) = read_clips(tmp_path, "train")
    np.testing.assert_allclose(back.audio, audio, atol=1e-4)
    np.testing.assert_array_equal(back.f0_hz, clip.f0_hz)
    np.testing.assert_array_equal(back.known, clip.known)
    assert (back.name, back.voice, back.kind) == ("a", "heart", "raw")
    assert [p.name for p in (tmp_path / "train").iterdir()] == ["a.npz"]


def test_singers_are_remade_only_where_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SINGERS, "train", 2)
    monkeypatch.setitem(SINGERS, "tune", 0)
    monkeypatch.setitem(SINGERS, "test", 0)
    assert len(list(build_singers(tmp_path))) == 2
    first = {p: p.read_bytes() for p in (tmp_path / "train").iterdir()}
    victim = sorted(first)[0]
    victim.unlink()
    list(build_singers(tmp_path))
    assert {p: p.read_bytes() for p in (tmp_path / "train").iterdir()} == first
    clip = read_clips(tmp_path, "train")[0]
    assert len(clip.f0_hz) == len(clip.known) == len(clip.audio) // HOP + 1


def test_random_numbers_depend_on_the_parts_alone() -> None:
    assert seeded("a", 1).random() == seeded("a", 1).random()
    assert len({seeded(*p).random() for p in (("a", 1), ("a", 2), ("b", 1), ("a",))}) == 4
