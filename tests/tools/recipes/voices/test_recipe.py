"""The recipe on a corpus of two speakers, of whom each says one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from altervox.models.neural.features import DEEPEST
from altervox.models.neural.network import BANDS, PAIR
from altervox.models.neural.voice_file import read_voice_file
from altervox.tools.recipes.pitch.speech import seeded
from altervox.tools.recipes.voices.batches import BatchSource, Disturbances
from altervox.tools.recipes.voices.corpus import prepare, read_speakers
from altervox.tools.recipes.voices.packaging import note_figures, package
from altervox.tools.recipes.voices.training import Stage, Training, TrainingConfig
from altervox.tools.voices.analysis import features_of
from altervox.tools.voices.material import pitch_of
from altervox.tools.voices.tuning import TuningConfig
from cli_runner import FEMALE, MALE

SPEAKERS = ("kathleen", "librispeech_27")
UNDISTURBED = Disturbances(
    noise=0.0, room=0.0, telephone=0.0, alone=0.0, speed=1.0, warp=1.0, gain=(0.0, 0.0), microphone=0.0
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared from a data folder, by two processes' worth of parts."""
    folder = tmp_path_factory.mktemp("voices")
    lines = ["file\tset\tspeaker\tsex\tseconds\trate\ttext\tsplit"]
    for speaker, path in zip(SPEAKERS, (FEMALE, MALE), strict=True):
        audio, rate = soundfile.read(path, dtype="float32")
        audio = np.resize(audio, 7 * rate)
        for split in ("train", "valid"):
            name = f"{speaker}-{split}.wav"
            soundfile.write(folder / name, audio, rate)
            lines.append(f"{name}\t{speaker}\t{speaker}\t\t7.0\t{rate}\t\t{split}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    made = [
        name
        for split in ("train", "valid")
        for part in (0, 1)
        for name in prepare(folder, folder / "c", split, part, 2)
    ]
    assert sorted(made) == sorted(SPEAKERS * 2)
    assert list(prepare(folder, folder / "c", "train")) == []  # what is there is kept
    return folder / "c"


def source(corpus: Path, disturbances: Disturbances, size: int = 2) -> BatchSource:
    return BatchSource(read_speakers(corpus, "train"), [], [], 64, size, disturbances)


def test_what_is_heard_undisturbed_is_what_a_stream_hears(corpus: Path) -> None:
    batches = source(corpus, UNDISTURBED, size=1)
    for number in range(6):
        batch = batches.draw(seeded("stretch", number))
        example = batches.speakers[int(batch.speaker)].example
        f0 = pitch_of(np.asarray(example.f0_hz, dtype=np.float32))
        starts = [
            start
            for start in range(len(f0) - 128)
            if np.array_equal(f0[start : start + 128], batch.pitch[0].numpy())
            and np.array_equal(example.bands[2 * start : 2 * start + 256], batch.bands[0].numpy().astype(np.float16))
        ]
        heard, _ = features_of(example.audio.astype(np.float32) / 32768.0)
        # The first pair begins one frame after the first frame that is to be said.
        wanted = heard[starts[0] + 1 :][: batch.features.shape[1]]
        np.testing.assert_allclose(batch.features[0, : len(wanted)], wanted, atol=0.02)
        torch.testing.assert_close(batch.plain, batch.features)


def test_disturbances_leave_what_is_to_be_said(corpus: Path) -> None:
    batches = source(corpus, Disturbances(noise=1.0, room=0.0, alone=0.0), size=8)
    batch = batches.draw(seeded("noise"))
    assert batch.features.shape == (8, PAIR * 66, 80)
    assert batch.bands.shape == (8, 4 * 64, BANDS)
    assert torch.isfinite(batch.features).all()
    assert not torch.equal(batch.features, batch.plain)
    torch.testing.assert_close(batch.phones.sum(dim=-1), torch.ones(8, 64), atol=0.01, rtol=0.0)
    assert [bool(wide) for wide in batch.is_wide] == [batches.speakers[n].is_wide for n in batch.speaker.tolist()]
    alone = source(corpus, Disturbances(alone=1.0), size=4).draw(seeded("alone"))
    assert (alone.bands[..., :80] <= DEEPEST).all()  # of noise alone nothing is to be said
    assert (alone.pitch == 0.0).all()
    assert not alone.phones.any()
    assert alone.features.std() > 0.1


def test_training_goes_on_where_it_was_stopped(corpus: Path, tmp_path: Path) -> None:
    more = Stage(3, Disturbances(noise=1.0), phones=0.2, agreement=0.4)
    config = TrainingConfig((Stage(1), more), warm_up=2)
    batches = source(corpus, Disturbances())
    whole = Training(tmp_path / "whole", config, batches, batches)
    assert list(whole.run(every=4)) == [1, 2, 3, 4]
    first = Training(tmp_path / "parts", config, batches, batches)
    steps = first.run(every=2)
    assert [next(steps), next(steps), next(steps)] == [1, 2, 3]  # kept after the second
    again = Training(tmp_path / "parts", config, batches, batches)
    assert again.step == 2
    assert list(again.run(every=2)) == [3, 4]
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(again.average.state_dict()[name], value)


def test_a_run_becomes_voices_that_can_be_loaded(corpus: Path, tmp_path: Path) -> None:
    batches = source(corpus, Disturbances())
    for _ in Training(tmp_path, TrainingConfig((Stage(1),)), batches, batches).run():
        pass
    tuning = TuningConfig(steps=1, size=2, frames=20)
    written = list(package(tmp_path / "state.pt", corpus, tmp_path / "voices", tuning, 1.0, ("clara", "edgar")))
    assert written == ["encoder", "base", "clara", "edgar"]
    clara = read_voice_file(tmp_path / "voices" / "clara.safetensors")
    edgar = read_voice_file(tmp_path / "voices" / "edgar.safetensors")
    assert clara.encoder is None
    assert clara.card.encoder_sha256 == edgar.card.encoder_sha256
    assert (clara.card.register, edgar.card.register) == ("higher", "lower")
    assert clara.card.f0_log2_mean > edgar.card.f0_log2_mean
    assert not torch.equal(clara.speaking.voice, edgar.speaking.voice)
    rows = [{"voice": "clara", "condition": "noise-10db", "wer_percent": 50.1234, "similarity": None}]
    rows += [rows[0] | {"voice": "woman"}, rows[0] | {"condition": "loud"}]  # neither is noted
    rows = [dict.fromkeys(("sources_wer_percent", "way_percent", "dnsmos", "f0_correlation")) | row for row in rows]
    (tmp_path / "measured.json").write_text(json.dumps({"results": rows}), "utf-8")
    assert list(note_figures(tmp_path / "measured.json", tmp_path / "voices")) == ["clara"]
    again = read_voice_file(tmp_path / "voices" / "clara.safetensors")
    assert again.card.metrics == {**clara.card.metrics, "wer_percent_noise_10db": 50.123}
    assert torch.equal(again.speaking.voice, clara.speaking.voice)
