"""A decoder learns what it is given, stops after any step, and goes on as if it had not been interrupted."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import made_up_neural
import numpy as np
import own_recordings
import pytest
import torch
from altervox.models.neural.network import DELAY, ENCODER_DILATIONS, memory
from altervox.tools.voices import material
from altervox.tools.voices.analysis import Example, analyse_recording, features_of
from altervox.tools.voices.material import Material, hear, make_material
from altervox.tools.voices.recordings import as_float, utterances
from altervox.tools.voices.tuning import Tuning, TuningConfig, counted_bands
from cli_runner import full_disk

CONFIG = TuningConfig(steps=12, size=2, frames=50, warm_up=2, keep_every_s=0.0)
LATER = float("inf")


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    audio = own_recordings.recording(own_recordings.spoken(13.0)).audio
    return [analyse_recording(as_float(audio[cut]), own_recordings.RATE) for cut in utterances(audio)]


@pytest.fixture(scope="module")
def heard(examples: list[Example]) -> Material:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "_MOST_VIEWS", 3)
        return make_material(examples, made_up_neural.encoder(), 1, lambda: None)


def tuning(heard: Material, folder: Path, config: TuningConfig = CONFIG) -> Tuning:
    return Tuning(made_up_neural.file().speaking, heard, False, config, folder / "anna.state")


def weights(tuned: Tuning) -> torch.Tensor:
    spoken = tuned.spoken()
    return torch.cat([spoken.voice, *(tensor.flatten() for tensor in spoken.decoder.state_dict().values())])


def test_undisturbed_codes_are_those_of_a_stream(examples: list[Example]) -> None:
    """The encoder hears at run time what it heard in training: frames from the second one on, two at a time."""
    example = examples[0]
    features, _ = features_of(np.pad(as_float(example.audio), (0, 6 * 160)))
    pairs = torch.from_numpy(features[1 : 1 + 2 * (len(example.level) // 2 + 2)])[None]
    encoder = made_up_neural.encoder()
    with torch.inference_mode():
        mem = torch.zeros(1, memory(ENCODER_DILATIONS))
        expected = encoder(pairs, mem)[0][0, DELAY:].numpy()
    codes = hear(example, encoder)
    assert codes.shape == expected.shape
    assert np.abs(codes[20:].astype(np.float32) - expected[20:]).max() < 0.02


def test_views_say_what_was_said(heard: Material, examples: list[Example]) -> None:
    frames = len(heard.codes)
    assert (len(heard.at_10ms), len(heard.at_5ms)) == (2 * frames, 4 * frames)
    assert heard.clean_frames == sum(len(example.level) // 2 for example in examples)
    assert heard.at_10ms.max() < len(heard.said.level)
    assert (np.abs(heard.at_5ms[::2] - 2 * heard.at_10ms) <= 1).all()
    clean = 2 * heard.clean_frames
    assert (heard.at_10ms[:clean] == np.arange(clean)).all()
    codes, pitch, bands = heard.stretch(3, 10)
    assert (codes.shape, pitch.shape, bands.shape) == ((10, 64), (20, 2), (40, 87))
    assert (bands == heard.said.bands[12:52].astype(np.float32)).all()


def test_it_learns(heard: Material, tmp_path: Path) -> None:
    tuned = tuning(heard, tmp_path, TuningConfig(steps=40, size=4, frames=50, learning_rate=2e-3, warm_up=4))
    assert list(tuned.run(LATER)) == list(range(1, 41))
    assert np.mean(tuned.losses[-5:]) < 0.75 * np.mean(tuned.losses[:5])
    assert all(np.isfinite(tuned.losses))


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(heard: Material, tmp_path: Path) -> None:
    whole = tuning(heard, tmp_path / "whole")
    list(whole.run(LATER))
    again = tuning(heard, tmp_path / "whole")
    assert again.step == CONFIG.steps
    for stop_at in (5, 9):
        part = tuning(heard, tmp_path / "parts")
        for step in part.run(LATER):
            if step == stop_at:
                break
    rest = tuning(heard, tmp_path / "parts")
    assert rest.step >= 8, "the state is kept after each step"
    list(rest.run(LATER))
    assert rest.losses == whole.losses
    assert torch.equal(weights(rest), weights(whole))
    other_seed = tuning(heard, tmp_path / "other", replace(CONFIG, seed=2))
    list(other_seed.run(LATER))
    assert not torch.equal(weights(other_seed), weights(whole))


def test_time_is_bounded(heard: Material, tmp_path: Path) -> None:
    tuned = tuning(heard, tmp_path, TuningConfig(steps=100_000, size=2, frames=50))
    started = time.monotonic()
    steps = list(tuned.run(started))
    assert len(steps) == 1


def test_more_time_brings_more_steps(heard: Material, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=60)
    hurried = tuning(heard, tmp_path, config)
    steps = hurried.run(LATER)
    for _ in range(9):
        next(steps)
    hurried.steps = 20  # there was time for so many
    hurried.keep()
    patient = tuning(heard, tmp_path, config)
    assert (patient.step, patient.is_of_others) == (9, False)
    assert list(patient.run(LATER))[-1] == 60


@pytest.mark.parametrize("spoilt", [b"", b"not a state", None])
def test_a_state_that_does_not_fit_is_begun_anew(
    spoilt: bytes | None, heard: Material, examples: list[Example], tmp_path: Path
) -> None:
    tuned = tuning(heard, tmp_path)
    next(tuned.run(LATER))
    tuned.keep()
    if spoilt is not None:
        (tmp_path / "anna.state").write_bytes(spoilt)
    else:  # it belongs to other recordings
        heard = make_material(examples[:1], made_up_neural.encoder(), 1, lambda: None)
    again = tuning(heard, tmp_path)
    assert (again.step, again.is_of_others) == (0, spoilt is None)


def test_a_full_disk_keeps_the_state_before(heard: Material, tmp_path: Path) -> None:
    tuned = tuning(heard, tmp_path)
    next(tuned.run(LATER))
    tuned.keep()
    before = (tmp_path / "anna.state").read_bytes()
    with full_disk(100_000):
        tuned.keep()
    assert not tuned.is_kept
    assert [path.name for path in tmp_path.iterdir()] == ["anna.state"]
    assert (tmp_path / "anna.state").read_bytes() == before
    tuned.forget()
    assert not list(tmp_path.iterdir())


def test_bands_that_count() -> None:
    assert counted_bands(True).all()
    assert 60 < counted_bands(False).sum() < 75
