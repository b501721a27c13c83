"""Neural voices in the library: the ones that ship, one's own, and mixes of two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import made_up_neural
import pytest
from altervox.kernels.errors import CheckpointError, UnknownVoiceError, VoiceError
from altervox.models import library
from altervox.models.neural import card, voice_file
from altervox.models.neural.voice import NeuralVoice
from altervox.models.paths import training_state


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two voices as they ship, beside the encoder that they share."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    for module in (card, voice_file):
        monkeypatch.setattr(module, "SHIPPED", folder)
    voice_file.write_encoder(folder / "encoder.safetensors", made_up_neural.encoder())
    for name, seed in (("anna", 1), ("bert", 2)):
        made = replace(made_up_neural.file(seed, name=name), encoder=None)
        voice_file.write_voice(folder / f"{name}.safetensors", made)
    voice_file.shipped_encoder.cache_clear()
    yield folder
    voice_file.shipped_encoder.cache_clear()


def test_shipped_voices_are_listed_and_loaded_by_name(shipped: Path) -> None:
    rows = [info for info in library.list_voices() if info.kind == "neural"]
    assert [(row.name, row.sample_rate, row.path) for row in rows] == [("anna", 24000, None), ("bert", 24000, None)]
    assert rows[1].description == "random weights from 2"
    voice = library.load_voice("bert")
    assert isinstance(voice, NeuralVoice)
    assert (voice.name, voice.kind, voice.sample_rate, voice.description) == (
        "bert",
        "neural",
        24000,
        rows[1].description,
    )
    assert "mix" not in voice.uses
    for change in (lambda: library.remove_voice("anna"), lambda: library.add_voice(shipped / "anna.safetensors")):
        with pytest.raises(VoiceError, match="'anna' is a built-in voice"):
            change()


def test_a_shipped_voice_that_is_damaged_is_listed_as_such(shipped: Path) -> None:
    (shipped / "bert.safetensors").write_bytes(b"not a voice")
    assert [(i.name, i.description[:8]) for i in library.list_voices() if i.kind == "neural"] == [
        ("anna", "random w"),
        ("bert", "damaged:"),
    ]
    with pytest.raises(CheckpointError, match=r"bert\.safetensors is not a neural voice"):
        library.load_voice("bert")


@pytest.mark.parametrize("name", [None, "Алиса \N{SNOWMAN}"])
def test_a_voice_of_ones_own_is_added_loaded_and_removed(name: str | None, tmp_path: Path, home: Path) -> None:
    source = made_up_neural.write(tmp_path / "alice.safetensors", 2)
    info = library.add_voice(source, name)
    title = name or "alice"
    assert info == next(i for i in library.list_voices() if i.name == title)
    assert (info.kind, info.sample_rate, info.description) == ("neural", 24000, "random weights from 2")
    source.unlink()
    voice = library.load_voice(title)
    assert isinstance(voice, NeuralVoice)
    assert voice.name == title
    assert voice.cards[0].f0_log2_mean == made_up_neural.MEANS[2]
    library.remove_voice(title)
    assert list((home / "voices").iterdir()) == []


def test_a_path_needs_no_library(tmp_path: Path, home: Path) -> None:
    path = made_up_neural.write(tmp_path / "alice.safetensors")
    assert library.load_voice(path).name == "alice"
    assert not home.exists()


def test_a_damaged_file_is_not_added(tmp_path: Path, home: Path) -> None:
    path = made_up_neural.write(tmp_path / "alice.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"alice\.safetensors is damaged"):
        library.add_voice(path)
    assert not home.exists()
    with pytest.raises(CheckpointError, match=r"no\.safetensors does not exist"):
        library.load_voice(tmp_path / "no.safetensors")


def test_two_voices_are_mixed_by_their_names(shipped: Path, tmp_path: Path) -> None:
    library.add_voice(made_up_neural.write(tmp_path / "alice.safetensors", 3))
    for name in ("anna+bert", "bert+alice", f"{tmp_path / 'alice.safetensors'}+anna"):
        voice = library.load_voice(name)
        assert isinstance(voice, NeuralVoice)
        assert len(voice.cards) == len(voice.networks.voices) == 2
        assert "mix" in voice.uses
        assert voice.name == name.rpartition("/")[2].replace(".safetensors", "")
    assert library.load_voice("anna+bert").description == "a mix of anna and bert, by --mix"


def test_a_voice_may_be_called_like_a_mix(shipped: Path, tmp_path: Path) -> None:
    """But not like one that there is, which could not be had any more."""
    library.add_voice(made_up_neural.write(tmp_path / "anna+zoe.safetensors", 3))
    assert library.load_voice("anna+zoe").description == "random weights from 3"
    with pytest.raises(VoiceError, match=r"'anna\+bert' is a mix of two voices; give another name by --name"):
        library.add_voice(made_up_neural.write(tmp_path / "anna+bert.safetensors", 3))


def test_a_file_out_of_a_library_has_its_name_on_its_card(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "voice.safetensors"
    voice_file.write_voice(path, made_up_neural.file(2, name="alice"))
    assert library.add_voice(path).name == "alice"
    assert library.add_voice(path, "zoe").name == "zoe"


def test_what_a_stopped_training_has_kept_goes_with_its_voice(tmp_path: Path, home: Path) -> None:
    library.add_voice(made_up_neural.write(tmp_path / "alice.safetensors"))
    for name in ("alice", "bob"):  # of bob there is no more than that
        state = training_state(name)
        state.parent.mkdir(exist_ok=True)
        state.write_bytes(b"weights")
        library.remove_voice(name)
        assert not state.exists()
    assert list((home / "voices").iterdir()) == []
    with pytest.raises(UnknownVoiceError):
        library.remove_voice("bob")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("anna+brt", r"no voice 'brt' \(did you mean 'bert'\?\)"),
        ("anna+", r"no voice 'anna\+' \(did you mean 'anna'\?\)"),
        ("anna+bert+anna", r"anna\+bert\+anna names 3 voices, and a mix is of two"),
        ("a" * 300, r"no voice 'a+...'"),
        ("anna+robot", r"anna\+robot cannot be mixed, for robot is of kind dsp: give two neural voices"),
        ("woman+man", r"woman\+man cannot be mixed, for woman is of kind dsp"),
        ("anna+alien", r"anna\+alien cannot be mixed, for the two were trained with different encoders"),
    ],
)
def test_what_cannot_be_mixed_is_said(name: str, said: str, shipped: Path, tmp_path: Path) -> None:
    library.add_voice(made_up_neural.write(tmp_path / "alien.safetensors", encoder_seed=1))
    with pytest.raises(VoiceError, match=said) as refused:
        library.load_voice(name)
    assert isinstance(refused.value, UnknownVoiceError) == ("no voice" in said)
