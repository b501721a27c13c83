"""Disturbances keep time, batches are what they say, and a run can be stopped and taken up again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from altervox.kernels.salience import VOICING_THRESHOLD, decode_salience
from altervox.models.pitch.rmvpe import RMVPE
from altervox.tools.recipes.pitch import disturbances
from altervox.tools.recipes.pitch.batches import BatchSource
from altervox.tools.recipes.pitch.corpus import Clip
from altervox.tools.recipes.pitch.noises import clicks, coloured_noise, mains_hum
from altervox.tools.recipes.pitch.training import (
    NETWORK,
    Training,
    TrainingConfig,
    network_input,
    pitch_loss,
    salience_target,
    score,
)

RATE = 16000


def clip(f0_hz: float, kind: str = "world", seconds: float = 3.0) -> Clip:
    n = np.arange(int(RATE * seconds))
    voiced = (n // (RATE // 2)) % 2 == 0
    audio = sum(np.cos(2 * np.pi * k * f0_hz * n / RATE) / k for k in range(1, 12)) * 0.2 * voiced
    frames = np.where(voiced[np.minimum(np.arange(len(n) // 160 + 1) * 160, len(n) - 1)], f0_hz, 0.0)
    return Clip(
        f"{kind}-{f0_hz:.0f}", audio.astype(np.float32), frames.astype(np.float32), frames >= 0, "synthetic", kind
    )


CLIPS = [clip(f, kind) for kind in ("world", "raw", "singer") for f in (110.0, 220.0, 440.0)]


@pytest.mark.parametrize("name", ["reverberated", "telephone", "equalised", "through_codec", "levelled"])
def test_a_disturbance_keeps_length_and_time(name: str) -> None:
    rng = np.random.default_rng(3)
    voice = (np.convolve(rng.standard_normal(20000), np.ones(4) / 4, "same") * 0.2).astype(np.float32)
    voice *= (np.sin(np.arange(20000) / 1500.0) > 0).astype(np.float32)
    out = getattr(disturbances, name)(voice, rng)
    assert out.shape == voice.shape
    assert out.dtype == np.float32
    similarity = np.correlate(out[2000:18000], voice[2200:17800], "valid")
    assert abs(int(np.argmax(np.abs(similarity))) - 200) <= 16  # 1 ms


@pytest.mark.parametrize("snr_db", [-3.0, 10.0, 35.0])
def test_noise_is_added_at_the_level_asked_for(snr_db: float) -> None:
    voice = clip(150.0).audio
    noise = coloured_noise(len(voice), np.random.default_rng(0), 3.0)
    added = disturbances.add_noise(voice, noise, snr_db) - voice
    loud = voice[: RATE // 2]  # a voiced half second
    measured = 10 * np.log10(np.mean(loud**2) / np.mean(added**2))
    assert measured == pytest.approx(snr_db, abs=0.3)


@pytest.mark.parametrize("make", [lambda n, r: coloured_noise(n, r, 6.0), mains_hum, clicks])
def test_noises_have_rms_one(make: Callable[[int, np.random.Generator], np.ndarray]) -> None:
    noise = make(16000, np.random.default_rng(1))
    assert noise.shape == (16000,)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0, rel=1e-3)


def test_coloured_noise_falls_as_told() -> None:
    spectrum = np.abs(np.fft.rfft(coloured_noise(1 << 16, np.random.default_rng(0), 6.0))) ** 2
    octaves = [10 * np.log10(spectrum[a : 2 * a].mean()) for a in (512, 1024, 2048, 4096)]
    np.testing.assert_allclose(np.diff(octaves), -6.0, atol=0.5)


def test_a_batch_is_always_the_same_and_aligned_with_its_labels() -> None:
    source = BatchSource(CLIPS, [coloured_noise(RATE * 4, np.random.default_rng(0), 3.0)], 16, 64)
    first, again, other = source.batch(5), source.batch(5), source.batch(6)
    assert torch.equal(first.audio, again.audio)
    assert not torch.equal(first.audio, other.audio)
    assert first.audio.shape == (16, 63 * 160 + 1024)
    assert first.f0_hz.shape == first.known.shape == (16, 64)
    assert torch.isfinite(first.audio).all()


def test_noise_alone_is_unvoiced_and_as_frequent_as_told() -> None:
    batch = BatchSource(CLIPS, [], 100, 32, noise_alone=0.5, repeated=0.0).batch(0)
    voiceless = (batch.f0_hz == 0).all(dim=1)
    assert 0.4 < float(voiceless.float().mean()) < 0.75
    assert batch.known[voiceless].float().mean() > 0.9
    assert int(batch.repeated.max()) == 0


def test_crops_carry_their_labels() -> None:
    """Frame j of a crop is centred on sample 512 + 160 j: voiced frames there are loud, unvoiced ones silent."""
    source = BatchSource([clip(200.0)], [], 1, 64)
    rng = np.random.default_rng(0)
    for _ in range(20):
        audio, f0, known = source._crop(clip(200.0), rng)
        level = np.array([np.abs(audio[512 + 160 * j : 512 + 160 * j + 80]).max() for j in range(64)])
        assert np.array_equal((level > 0.01)[known], (f0 > 0)[known])


def test_the_right_edge_repeats_the_newest_frame_and_does_not_count() -> None:
    source = BatchSource(CLIPS, [], 8, 64)
    batch = source.batch(1)
    model = RMVPE(**NETWORK)
    mel, known = network_input(model, batch)
    plain = model.mel.frames(batch.audio)
    assert int(batch.repeated.max()) > 0
    for b, repeated in enumerate(batch.repeated.tolist()):
        kept = 64 - repeated
        torch.testing.assert_close(mel[b, :, :kept], plain[b, :, :kept])
        torch.testing.assert_close(mel[b, :, kept:], plain[b, :, kept - 1 : kept].expand(-1, repeated))
        assert not known[b, kept:].any()
        assert torch.equal(known[b, :kept], batch.known[b, :kept])


@pytest.mark.parametrize("f0_hz", [50.0, 123.4, 440.0, 1100.0])
def test_the_target_decodes_to_its_pitch(f0_hz: float) -> None:
    target = salience_target(torch.tensor([[f0_hz, 0.0]]))
    decoded = decode_salience(target[0].numpy())
    assert abs(1200 * np.log2(decoded[0] / f0_hz)) < 1.0
    assert decoded[1] == 0.0


def test_the_loss_wants_the_pitch_and_the_voicing_where_decoding_looks() -> None:
    f0 = torch.tensor([[200.0, 0.0]])
    known = torch.ones(1, 2, dtype=torch.bool)
    target = salience_target(f0)
    right = torch.logit(target.clamp(1e-4, 1 - 1e-4))
    octave = torch.logit(salience_target(2 * f0).clamp(1e-4, 1 - 1e-4))
    voiced = right.clone()
    voiced[0, 1, 100] = torch.logit(torch.tensor(VOICING_THRESHOLD)) + 2.0
    for late in (False, True):
        best = pitch_loss(right, f0, known, late)
        assert pitch_loss(octave, f0, known, late) > best + 1.0
        assert pitch_loss(voiced, f0, known, late) > best + 0.3
        ignored = known.clone()
        ignored[0, 1] = False
        torch.testing.assert_close(pitch_loss(voiced, f0, ignored, late), pitch_loss(right, f0, ignored, late))


def test_stopped_and_taken_up_again_it_learns_the_same(tmp_path: Path) -> None:
    def training(folder: Path) -> Training:
        config = TrainingConfig(steps=3, edge_steps=1, batch_size=2, frames=64, edge_frames=32, warm_up=2)
        return Training(folder, config, CLIPS, [], CLIPS[:1])

    whole = training(tmp_path / "whole")
    list(whole.run(report_every=2))
    stopped = training(tmp_path / "parts")
    for done in stopped.run(report_every=2):
        if done == 3:  # one step after the state was kept: it is lost
            break
    resumed = training(tmp_path / "parts")
    assert resumed.step == 2
    list(resumed.run(report_every=2))
    for a, b in zip(whole.averaged.state_dict().values(), resumed.averaged.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    assert len((tmp_path / "whole" / "log.jsonl").read_text().splitlines()) == 2


def test_another_round_begins_with_the_weights_given(tmp_path: Path) -> None:
    torch.manual_seed(5)
    first = RMVPE(**NETWORK)
    before = {name: value.clone() for name, value in first.state_dict().items()}
    config = TrainingConfig(steps=1, edge_steps=0, batch_size=2, frames=64, learning_rate=1e-6)
    training = Training(tmp_path, config, CLIPS, [], CLIPS[:1], first)
    list(training.run())
    for name, value in training.averaged.named_parameters():
        torch.testing.assert_close(value, before[name], atol=1e-5, rtol=0.0)


def test_a_few_steps_learn_a_pitch() -> None:
    """The loss falls and two tones are told apart: labels, crops and mel frames belong together."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        clips = [clip(f, "world") for f in (110.0, 330.0)]
        config = TrainingConfig(steps=60, edge_steps=0, batch_size=4, frames=64, warm_up=5)
        training = Training(Path(folder), config, clips, [], clips)
        list(training.run(report_every=60))
        result = score(training.averaged, clips)
    assert result.rpa > 60.0
