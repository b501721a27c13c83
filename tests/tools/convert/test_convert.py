"""`altervox convert`: the result lasts as long as the input, is in step with it, and stands where it was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from altervox.tools.cli.main import cli
from altervox.tools.convert.writer import CONTAINERS
from cli_runner import COMMAND, FEMALE, MALE, altervox, altervox_process, envelope, lag, left_over, speech, write_ffmpeg

RATE = 16000
PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "talk.wav", speech(1.0), RATE)
    return tmp_path / "talk.wav"


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")]
    + [("flac", s) for s in ("PCM_S8", "PCM_16", "PCM_24")]
    + [("aiff", s) for s in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")],
)
def test_off_is_bit_exact(suffix: str, subtype: str, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    if subtype in PCM_BITS:
        bits = PCM_BITS[subtype]
        steps = random.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 30011)
        steps[:2] = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        soundfile.write(source, (steps << (32 - bits)).astype(np.int32), 22050, subtype)
    else:
        soundfile.write(source, random.standard_normal(30011) * 2, 22050, subtype)
    assert altervox("convert", source, "-o", target, "--voice", "off").code == 0
    kind = "float64" if subtype in ("FLOAT", "DOUBLE") else "int32"
    before, after = (soundfile.read(p, dtype=kind)[0] for p in (source, target))
    np.testing.assert_array_equal(after, before)
    assert soundfile.info(target).subtype == subtype
    assert soundfile.info(target).samplerate == 22050


@pytest.mark.parametrize("channels", [2, 6])
def test_off_gives_the_mean_of_the_channels(channels: int, tmp_path: Path) -> None:
    random = np.random.default_rng(5).uniform(-1, 1, (20000, channels))
    soundfile.write(tmp_path / "in.wav", random, RATE, "DOUBLE")
    assert altervox("convert", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--voice", "off").code == 0
    np.testing.assert_allclose(soundfile.read(tmp_path / "out.wav")[0], random.mean(axis=1), atol=1e-15)


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("voice", ["off", "robot"])
def test_the_ending_chooses_the_format(suffix: str, voice: str, talk: Path) -> None:
    target = talk.with_name(f"out{suffix.upper()}")
    done = altervox("convert", talk, "-o", target, "--voice", voice)
    assert (done.code, done.err) == (0, "")
    info = soundfile.info(target)
    assert (info.format, info.subtype) == (CONTAINERS[suffix].name, CONTAINERS[suffix].subtypes[0])
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, RATE)


@pytest.mark.parametrize(
    ("suffix", "subtype", "kept"),
    [
        ("wav", "PCM_U8", "PCM_U8"),
        ("wav", "PCM_24", "PCM_24"),
        ("wav", "DOUBLE", "DOUBLE"),
        ("flac", "PCM_24", "PCM_24"),
        ("flac", "FLOAT", "PCM_24"),
        ("flac", "PCM_U8", "PCM_S8"),
    ],
)
def test_the_sample_format_is_kept(suffix: str, subtype: str, kept: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", speech(0.5), RATE, subtype)
    assert altervox("convert", tmp_path / "in.wav", "-o", tmp_path / f"out.{suffix}", "--voice", "robot").code == 0
    assert soundfile.info(tmp_path / f"out.{suffix}").subtype == kept


@pytest.mark.parametrize(
    ("rate", "kept", "surplus", "suffix"),
    [
        (3000, 16000, 0, "wav"),
        (3000, 16000, 1, "flac"),
        (8000, 8000, 77, "wav"),
        (11025, 11025, 1, "wav"),
        (22050, 22050, 0, "flac"),
        (44100, 44100, 77, "flac"),
        (384000, 48000, 1, "wav"),
        (384000, 48000, 77, "flac"),
    ],
)
def test_the_result_lasts_exactly_as_long(suffix: str, rate: int, kept: int, surplus: int, tmp_path: Path) -> None:
    samples = speech(1.5, rate)[: rate + surplus]
    soundfile.write(tmp_path / "in.wav", samples, rate)
    done = altervox("convert", tmp_path / "in.wav", "-o", tmp_path / f"out.{suffix}", "--voice", "robot", "--json")
    assert done.code == 0
    info = soundfile.info(tmp_path / f"out.{suffix}")
    assert info.samplerate == kept
    assert info.frames == int((rate + surplus) * kept / rate + 0.5)
    assert done.json[0]["seconds"] == pytest.approx((rate + surplus) / rate, abs=1e-6)


@pytest.mark.parametrize("source", [MALE, FEMALE])
@pytest.mark.parametrize("voice", ["woman", "man"])
def test_the_result_is_in_step(source: Path, voice: str, tmp_path: Path) -> None:
    assert altervox("convert", source, "-o", tmp_path / "out.wav", "--voice", voice).code == 0
    before, rate = soundfile.read(source, always_2d=True)
    after, _ = soundfile.read(tmp_path / "out.wav")
    assert abs(lag(envelope(after, rate), envelope(before.mean(axis=1), rate))) <= 5  # milliseconds
    assert not np.allclose(after, before.mean(axis=1), atol=0.01), "another voice"


@pytest.mark.parametrize("form", ["mp3", "m4a", "ogg", "webm"])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_compressed_input_is_in_step(form: str, rate: int, tmp_path: Path) -> None:
    """To the sample: each of these says how much its encoder put before the sound."""
    original = speech(2.0, rate)
    source = tmp_path / f"in.{form}"
    if form in ("m4a", "webm"):
        write_ffmpeg(source, original, rate, "aac" if form == "m4a" else "libopus")
    else:
        soundfile.write(source, original, rate)
    assert altervox("convert", source, "-o", tmp_path / "out.wav", "--voice", "off").code == 0
    after, written_rate = soundfile.read(tmp_path / "out.wav")
    if written_rate != rate:  # Opus knows 48 kHz alone
        original = speech(2.0, written_rate)
    assert len(after) == len(original)
    assert lag(after, original) == 0


@pytest.mark.parametrize(("name", "rate", "written"), [("o.mp3", 10000, 11025), ("o.opus", 44100, 48000)])
def test_a_rate_that_the_format_refuses(name: str, rate: int, written: int, tmp_path: Path) -> None:
    original = speech(1.0, rate)
    soundfile.write(tmp_path / "in.wav", original, rate)
    done = altervox("convert", tmp_path / "in.wav", "-o", tmp_path / name, "--voice", "off")
    assert done.code == 0
    assert len(done.complaints) == 1
    assert f"{written} Hz" in done.complaints[0]
    after, found_rate = soundfile.read(tmp_path / name)
    assert found_rate == written
    assert len(after) == int(len(original) * written / rate + 0.5)
    assert abs(lag(after, speech(1.0, written))) <= 1


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_names_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = 'it\'s a "talk" Алиса.v2.mp3' if sys.platform != "win32" else "it's a talk Алиса.v2.mp3"
    for name in ("a.wav", odd, "in/b.flac", "in/sub/c.wav", "in/.hidden.wav", "in/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            Path(name).write_text("no sound")
        else:
            soundfile.write(name, speech(0.2), RATE)
    inputs = names(tmp_path)

    def results(*arguments: str) -> list[str]:
        done = altervox("convert", "--voice", "off", *arguments)
        assert (done.code, done.err) == (0, "")
        made = [name for name in names(tmp_path) if name not in inputs]
        for name in made:
            assert name.replace("/", os.sep) in done.out
            Path(name).unlink()
        return [Path(name).as_posix() for name in made]

    assert results("a.wav") == ["a.off.wav"]
    assert results("./a.wav") == ["a.off.wav"]
    assert results(odd) == [odd.replace(".mp3", ".off.wav")]
    assert results("a.wav", odd) == ["a.off.wav", odd.replace(".mp3", ".off.wav")]
    assert results("in") == ["in/b.off.wav", "in/sub/c.off.wav"]
    assert results("a.wav", "-o", "new/deep/x.flac") == ["new/deep/x.flac"]
    assert results("a.wav", "-o", "fresh/") == ["fresh/a.wav"]
    assert results("a.wav", "-o", "fresh.wav/") == ["fresh.wav/a.wav"]
    assert Path("fresh").is_dir()
    assert results("a.wav", "-o", "fresh") == ["fresh/a.wav"]
    assert results("a.wav", odd, "in", "-o", "all") == [
        f"all/{n}" for n in ("a.wav", "b.wav", odd[:-4] + ".wav", "sub/c.wav")
    ]
    assert results("in/", "-o", "out/") == ["out/b.wav", "out/sub/c.wav"]
    assert results("in", "-o", "in/results/") == ["in/results/b.wav", "in/results/sub/c.wav"]
    assert names(tmp_path) == inputs


def test_a_long_name_of_many_bytes(tmp_path: Path) -> None:
    """A name may fill all that the file system allows."""
    source = tmp_path / ("語" * 60 + ".wav")
    soundfile.write(source, speech(0.2), RATE)
    target = tmp_path / ("語" * 83 + ".wav")  # 253 of 255 bytes
    assert altervox("convert", source, "-o", target, "--voice", "off").code == 0
    assert target.is_file()


def test_results_that_would_collide_are_refused(tmp_path: Path) -> None:
    for name in ("a/x.wav", "a/x.flac", "b/x.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, speech(0.2), RATE)
    for inputs in (["a/x.flac", "a/x.wav"], ["a/x.wav", "b/x.wav"], ["a/x.wav", "a/x.wav"]):
        done = altervox("convert", *(tmp_path / i for i in inputs), "-o", tmp_path / "out/", "--voice", "off")
        assert done.code == 2
        assert "would both be written to" in done.complaints[0]
    assert names(tmp_path) == ["a/x.flac", "a/x.wav", "b/x.wav"]


def test_a_collision_within_a_folder_refuses_the_later_file_alone(tmp_path: Path) -> None:
    for name in ("in/x.wav", "in/x.flac", "in/z.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, speech(0.2), RATE)
    done = altervox("convert", tmp_path / "in", "-o", tmp_path / "out/", "--voice", "off")
    assert done.code == 1
    assert "x.wav would both be written to" in done.complaints[0]
    assert done.complaints[1:] == ["altervox: 1 of 3 files failed"]
    assert names(tmp_path / "out") == ["x.wav", "z.wav"]


def test_a_batch_goes_on_past_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "z.wav"):
        soundfile.write(tmp_path / "in" / name, speech(0.3), RATE)
    (tmp_path / "in" / "m.wav").write_text("no sound at all")
    done = altervox("convert", tmp_path / "in", "-o", tmp_path / "out", "--voice", "robot")
    assert done.code == 1
    assert len(done.complaints) == 2
    assert "m.wav" in done.complaints[0]
    assert done.complaints[1] == "altervox: 1 of 3 files failed"
    assert names(tmp_path / "out") == ["a.wav", "z.wav"]
    assert len(done.out.splitlines()) == 2

    rows = altervox("convert", tmp_path / "in", "-o", tmp_path / "out", "--voice", "off", "--json").json
    assert [set(row) for row in rows if "error" not in row] == [{"input", "output", "seconds", "rtf", "peak_mib"}] * 2
    (failed,) = [row for row in rows if "error" in row]
    assert set(failed) == {"input", "error"}
    assert failed["input"] == str(tmp_path / "in" / "m.wav")
    good = rows[0]
    assert good["output"] == str(tmp_path / "out" / "a.wav")
    assert good["seconds"] == 0.3
    assert good["rtf"] > 0


def test_json_is_alone_on_stdout(talk: Path) -> None:
    done = altervox_process("-v", "convert", talk, "--voice", "woman", "--json", "--speaker", "3")
    assert done.code == 0
    assert len(done.json) == 1
    assert "--speaker has no effect" in done.err


def test_the_seed_and_the_options_matter(talk: Path) -> None:
    def result(*options: object) -> bytes:
        target = talk.with_name("out.wav")
        assert altervox("convert", talk, "-o", target, "--voice", "whisper", *options).code == 0
        return target.read_bytes()

    plain = result()
    assert result("--seed", 0) == plain
    assert result("--seed", 1) != plain
    assert result("--formant", -2) != plain


def test_a_long_file_takes_no_more_memory(tmp_path: Path) -> None:
    second = np.concatenate((np.zeros(RATE // 2), 0.5 * np.sin(np.arange(RATE // 2) * 0.1)))
    soundfile.write(tmp_path / "short.flac", second, RATE)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", RATE, 1, "PCM_16") as file:
        minute = np.tile(second, 60)
        for _ in range(20):
            file.write(minute)
    peaks = []
    for name in ("short.flac", "long.flac"):
        done = altervox_process("convert", tmp_path / name, "-o", tmp_path / "out.flac", "--voice", "off", "--json")
        assert done.code == 0
        peaks.append(done.json[0]["peak_mib"])
    assert done.json[0]["seconds"] == 1200
    assert peaks[1] < peaks[0] + 30


def test_a_reader_that_goes_leaves_no_traceback() -> None:
    process = subprocess.Popen(
        [*COMMAND, "voices"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 1


def test_the_version_is_the_same_everywhere() -> None:
    from importlib.metadata import version

    script = Path(sys.executable).with_name("altervox.exe" if sys.platform == "win32" else "altervox")
    for command in ([str(script)], COMMAND):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"altervox {version('altervox')}\n"


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = [(path, group)]
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


@pytest.mark.parametrize(("path", "command"), [pytest.param(*c, id=" ".join(c[0])) for c in commands(cli)])
def test_help_names_every_option(path: tuple[str, ...], command: click.Command) -> None:
    done = altervox(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert command.help is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert all(name in done.out for name in parameter.opts)
            assert parameter.help
    assert altervox(*path, "-h").out == done.out


@pytest.mark.parametrize("folder", ["out", "out/", "."])
def test_nothing_half_written_stays_beside_results(folder: str, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(talk.parent)
    Path("in").mkdir()
    talk.rename("in/talk.wav")
    if folder == "out":
        Path("out").mkdir()
    assert altervox("convert", "in/talk.wav", "-o", folder, "--voice", "off").code == 0
    assert not left_over(talk.parent)
    assert Path(folder, "talk.wav").read_bytes() == Path("in/talk.wav").read_bytes()
