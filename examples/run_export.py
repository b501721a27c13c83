"""Convert a file with an exported RVC voice: ONNX Runtime and NumPy, nothing else. The block loop of docs/export.md.

    python examples/run_export.py FOLDER in.wav out.wav

The input is 16 kHz mono WAV with 16 bits; the output has the voice's rate.
"""

from __future__ import annotations

import json
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HOP, N_FFT, RATE = 160, 1024, 16000  # samples in a frame of 10 ms, of a Fourier transform, and Hz
Array = np.ndarray[Any, np.dtype[Any]]


class Graph:
    """One graph, with what it carries from run to run."""

    def __init__(self, folder: Path, described: dict[str, Any]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / described["file"]), options, providers=["CPUExecutionProvider"]
        )
        self.carries = described["carries"]
        self.inputs = {k: np.zeros(t["shape"], t["dtype"]) for k, t in described["inputs"].items()}
        self.outputs = list(described["outputs"])

    def run(self, **given: Any) -> dict[str, Array]:
        """Outputs by name, given the inputs that are not carried."""
        for name, value in given.items():
            self.inputs[name][...] = value
        results = dict(zip(self.outputs, self.session.run(self.outputs, self.inputs), strict=True))
        self.inputs |= {source: results[target] for source, target in self.carries.items()}
        return results

    def forget(self, *names: str) -> None:
        """Zero some of what is carried."""
        for name in names:
            self.inputs[name] = np.zeros_like(self.inputs[name])


def mel_filterbank() -> Array:
    """Triangles [128, 513] on the HTK mel scale from 30 to 8000 Hz, each of unit area in Hz."""
    mels = np.linspace(*(2595.0 * np.log10(1.0 + hz / 700.0) for hz in (30.0, 8000.0)), 130)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.linspace(0.0, RATE / 2, N_FFT // 2 + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0.0)
    return (triangles * 2.0 / (right - left)).astype(np.float32)


def f0_of(salience: Array) -> Array:
    """F0 in Hz of rows of 360 bins of 20 cents: the weighted mean around the maximum, 0 where unvoiced."""
    f0 = np.zeros(len(salience), np.float32)
    for i, row in enumerate(salience):
        centre = int(row.argmax())
        if row[centre] > 0.03:
            k = np.arange(max(centre - 4, 0), min(centre + 5, 360))
            total = np.cumsum(row[k], dtype=np.float32)[-1]
            cents = np.sum(row[k] * (1997.3794084376191 + 20.0 * k)) / float(total)
            f0[i] = 10.0 * 2.0 ** (cents / 1200.0)
    return f0


def coarse_pitch(f0: Array) -> Array:
    """1..255, linear in mel between 50 and 1100 Hz; 1 where unvoiced."""
    low, high, mel = (1127.0 * np.log1p(hz / 700.0) for hz in (50.0, 1100.0, f0.astype(np.float64)))
    scaled = np.where(mel > 0.0, (mel - low) * 254.0 / (high - low) + 1.0, 1.0)
    return np.rint(scaled.clip(1.0, 255.0)).astype(np.int64)


def noise(seed: int, stream: int, first: int, frames: int, width: int) -> Array:
    """Standard normal [frames, width], a function of the frame's number: 64 frames from each counter of Philox."""
    chunks = []
    for chunk in range(first // 64, (first + frames - 1) // 64 + 1):
        counter = np.array([0, 0, stream, chunk & 0xFFFFFFFFFFFFFFFF], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=seed, counter=counter))
        chunks.append(generator.standard_normal((64, width), np.float32))
    return np.concatenate(chunks)[first % 64 :][:frames]


def levels(x: Array, hop: int, frames: int) -> Array:
    """RMS over four hops around each of some frames, zero beyond the ends."""
    power = np.concatenate(([0.0], np.cumsum(x.astype(np.float64) ** 2)))
    first, last = ((np.arange(frames) * hop + end * 2 * hop).clip(0, len(x)) for end in (-1, 1))
    return np.sqrt((power[last] - power[first]) / (4 * hop)).astype(np.float32)


class Pitch:
    """F0 of a stream."""

    def __init__(self, graph: Graph, block: int) -> None:
        self.graph, self.rows = graph, graph.inputs["rows"].shape[1]
        self.window, self.ahead = graph.inputs["mel"].shape[2], 3 + self.rows - block
        self.hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)
        self.bands = mel_filterbank()
        self.audio, self.mel = np.zeros(0, np.float32), np.zeros((128, 0), np.float32)
        self.samples = self.mel_frames = self.committed = 0

    def push(self, block: Array) -> Array:
        """F0 of the frames that are final now."""
        self.audio, self.samples = np.concatenate((self.audio, block)), self.samples + len(block)
        due = (self.samples - N_FFT // 2) // HOP + 1 - self.mel_frames
        if due > 0:
            if self.mel_frames == 0:
                self.audio = np.pad(self.audio, (N_FFT // 2, 0), mode="reflect")
            frames = np.stack([self.audio[i * HOP : i * HOP + N_FFT] * self.hann for i in range(due)])
            magnitude = np.abs(np.fft.rfft(frames.astype(np.float64)).astype(np.complex64))
            new = np.log(np.maximum(self.bands @ magnitude.T, 1e-5))
            self.mel = np.concatenate((self.mel, new), axis=1)[:, -self.window :]
            self.audio, self.mel_frames = self.audio[due * HOP :], self.mel_frames + due
        frames_due = self.samples // HOP - self.ahead - self.committed
        if frames_due <= 0:
            return np.zeros(0, np.float32)
        start = max(-(-(self.mel_frames - self.window) // 32) * 32, 0)  # on the stream's grid of 32 frames
        known, first = self.mel_frames - start, self.committed - start
        mel = np.pad(self.mel[:, -known:], ((0, 0), (0, self.window - known)), mode="edge")
        rows = first + np.arange(self.rows)
        result = self.graph.run(mel=mel, rows=rows, last_row=frames_due - 1, valid_rows=known - first)
        self.committed += frames_due
        return f0_of(result["salience"][0, :frames_due])


class Voice:
    """An exported voice, block by block."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        self.graphs = {name: Graph(folder, described) for name, described in self.manifest["graphs"].items()}
        lengths = {name.removesuffix("_ms"): ms // 10 for name, ms in self.manifest["lengths"].items()}
        self.block, self.lookahead, self.crossfade = lengths["block"], lengths["lookahead"], lengths["crossfade"]
        self.per_frame = self.manifest["sample_rate"] // 100
        self.window = self.graphs["content"].inputs["audio"].shape[1] // HOP
        self.known, self.rendered = self.window - 2, self.block + self.lookahead - 2  # frames with a content feature
        self.pitch = Pitch(self.graphs["rmvpe"], self.block) if "rmvpe" in self.graphs else None
        self.audio, self.f0 = np.zeros(self.window * HOP, np.float32), np.zeros(self.window, np.float32)
        self.before = np.zeros(3 * self.per_frame, np.float32)  # rendered before the block
        width = self.graphs["retrieval"].inputs["features"].shape[2] if "retrieval" in self.graphs else 1
        self.found = np.zeros((self.known // 2, width), np.float32)  # by retrieval, for each feature
        self.searched = np.zeros((self.known // 2, 1), np.float32)  # 1 for those that it was asked for
        self.tail = np.zeros(self.crossfade * self.per_frame, np.float32)
        self.fade_in = (np.sin(0.5 * np.pi * np.linspace(0.0, 1.0, len(self.tail))) ** 2).astype(np.float32)
        self.frames_in = 0

    def process(
        self,
        block: Array,
        semitones: float = 0.0,
        index_rate: float = 0.75,
        protect: float = 0.33,
        rms_mix: float = 0.25,
        speaker: int = 0,
        seed: int = 0,
    ) -> Array:
        """The next block of 16 kHz audio to the next block of the voice, `lookahead_ms` later."""
        graphs, per = self.graphs, self.per_frame
        self.audio = np.concatenate((self.audio[len(block) :], block))
        self.frames_in += self.block
        # 1. Content features. Where the window reaches before the stream, what there is is mirrored.
        missing = max(self.window - self.frames_in, 0) * HOP
        audio = np.pad(self.audio[missing:], (missing, 0), mode="reflect") if missing else self.audio
        features = graphs["content"].run(audio=audio)["features"][0]
        # 2. F0. Frames that are not known yet hold the last one that is.
        if self.pitch is not None:
            known, ahead = self.pitch.push(block), self.pitch.ahead
            self.f0 = np.concatenate((self.f0[self.block :], self.f0[-self.block :]))
            self.f0[self.window - ahead - len(known) : self.window - ahead] = known
            self.f0[self.window - ahead :] = self.f0[self.window - ahead - 1]
        f0 = self.f0[: self.known] * np.float32(2.0 ** (semitones / 12.0))
        # 3. Two frames of 10 ms for each feature, blended with the index; unvoiced frames less so. Only features that
        #    the block or what follows it takes are searched for; for older ones what was found last stays.
        step = self.block // 2
        self.found, self.searched = (np.pad(x[step:], ((0, step), (0, 0))) for x in (self.found, self.searched))
        slots = np.minimum(np.arange(self.known) // 2, len(features) - 1)
        phone = features[slots]
        if "retrieval" in graphs and index_rate > 0.0:
            newest = slice(-graphs["retrieval"].inputs["features"].shape[1], None)
            self.found[newest] = graphs["retrieval"].run(features=features[newest])["neighbours"][0]
            self.searched[newest] = 1.0
            blended = (features + np.float32(index_rate) * self.searched * (self.found - features))[slots]
            if self.pitch is not None and protect < 0.5:
                keep = np.where(f0 < 1.0, protect, 1.0).astype(np.float32)[:, None]
                blended = blended * keep + phone * (1.0 - keep)
            phone = blended
        # 4. Prior and waveform, of the block and what follows it.
        pitch = {} if self.pitch is None else {"pitch": coarse_pitch(f0)}
        prior = graphs["prior"].run(phone=phone, **pitch)
        start = self.frames_in - self.lookahead - self.block  # absolute number of the first frame
        given: dict[str, Any] = {"m": prior["m"], "logs": prior["logs"], "speaker": speaker}
        given["latent_noise"] = noise(seed, 0, start, self.rendered, 192).T
        if self.pitch is not None:
            given["f0"] = f0[self.known - self.rendered :]
            given["source_noise"] = noise(seed, 1, start, self.rendered, per).reshape(-1)
        wav = graphs["generator"].run(**given)["wav"][0]
        if start < 0:  # before the stream: rendered to keep the shapes, and muted
            wav[: -start * per] = 0.0
            if start + self.block <= 0:
                graphs["generator"].forget("flow_mem_in", "decoder_mem_in")
        # 5. Loudness follows the input's, and the block is joined to the one before.
        x = np.concatenate((self.before, wav))
        self.before = x[self.block * per :][: len(self.before)].copy()
        if rms_mix < 1.0:
            frames = len(x) // per
            source = levels(self.audio[-(self.lookahead + self.block + 3) * HOP :][: frames * HOP], HOP, frames + 1)
            own = levels(x, per, frames + 1)
            at, weight = np.divmod(np.arange(len(x)), per)
            weight = weight / per
            source, own = (r[at] + weight * (r[at + 1] - r[at]) for r in (source, own))
            x = (x * (source / np.maximum(own, 1e-3)) ** (1.0 - rms_mix)).astype(np.float32)
        x = x[len(self.before) :][: (self.block + self.crossfade) * per]
        x[: len(self.tail)] = self.tail + self.fade_in * (x[: len(self.tail)] - self.tail)
        self.tail = x[self.block * per :].copy()
        return x[: self.block * per]


def convert(folder: Path, samples: Array) -> tuple[Array, int]:
    """16 kHz mono samples to the voice's, as long and in time with them, and their rate."""
    voice = Voice(folder)
    size, rate = voice.block * HOP, voice.manifest["sample_rate"]
    late = voice.lookahead * HOP
    padded = np.pad(samples.astype(np.float32), (0, late + -(len(samples) + late) % size))
    wav = np.concatenate([voice.process(block) for block in padded.reshape(-1, size)])
    return wav[voice.lookahead * voice.per_frame :][: len(samples) * rate // RATE], rate


def main() -> None:
    """Convert one file."""
    folder, source, target = map(Path, sys.argv[1:4])
    kind = json.loads((folder / "manifest.json").read_text("utf-8"))["kind"]
    if kind != "rvc":
        sys.exit(
            f"{folder} is an export of the kind {kind!r}, and this example runs the kind 'rvc' alone: "
            "give the folder of an exported RVC voice; docs/export.md says how others run"
        )
    with wave.open(str(source)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            sys.exit(f"{source} is not 16 kHz mono with 16 bits")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
    wav, rate = convert(folder, samples)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((wav.clip(-1.0, 1.0) * 32767.0).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
