"""Pitch trackers of others behind one face, for comparison: F0 and a confidence, on altervox's own frames.

Each is used as its package ships it. Packages that are not installed are named, never an error.

Sources: FCPE, arXiv:2509.15140; SwiftF0, Nieradzik 2025, arXiv:2508.18440; CREPE, Kim et al. 2018,
arXiv:1802.06182, in the port torchcrepe; Harvest, DIO and StoneMask, see `bench.accuracy.world_f0`; the voicing measure
that goes with them is D4C's "love train", Morise 2016, doi:10.1016/j.specom.2016.09.001.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ....kernels.errors import MissingDependencyError
from ....kernels.salience import VOICING_THRESHOLD, decode_salience
from ....kernels.types import FloatArray
from ...bench.accuracy.world_f0 import world_f0

if TYPE_CHECKING:
    from ....models.pitch.rmvpe import RMVPE


SAMPLE_RATE = 16000
HOP = 160
# A frame between two whose F0 differ by more lies at a leap, where the mean of both is neither.
_LEAP_OCTAVES = 0.15


class Tracker(Protocol):
    """A pitch tracker.

    Attributes:
        name: For tables.
        threshold: Confidence above which its makers call a frame voiced.
        has_every_frame: Whether it names an F0 in frames that it holds to be unvoiced, too.
    """

    name: str
    threshold: float
    has_every_frame: bool

    def track(self, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """F0 in Hz and confidence, both `[N // 160 + 1]`, of audio `[N]` at 16 kHz; frame j is centred on 160 j."""
        ...


def frame_count(samples: int) -> int:
    """Frames of so many samples at 16 kHz."""
    return samples // HOP + 1


def on_frames(
    times_s: NDArray[np.float64], f0_hz: FloatArray, confidence: FloatArray, frames: int
) -> tuple[FloatArray, FloatArray]:
    """A track moved to frames of 10 ms: interpolated, F0 in log frequency, held at both ends.

    Args:
        times_s: Centres of the frames of the track in seconds [T], rising.
        f0_hz: [T] above 0.
        confidence: [T].
        frames: Number of frames of 10 ms, the first one centred on time 0.
    """
    position = np.interp(np.arange(frames) * HOP / SAMPLE_RATE, times_s, np.arange(len(times_s)))
    left = np.minimum(position.astype(np.int64), max(len(times_s) - 2, 0))
    right = np.minimum(left + 1, len(times_s) - 1)
    share = position - left
    octaves = np.log2(f0_hz.astype(np.float64))
    between = (1.0 - share) * octaves[left] + share * octaves[right]
    nearest = octaves[np.where(share < 0.5, left, right)]
    moved = np.where(np.abs(octaves[right] - octaves[left]) > _LEAP_OCTAVES, nearest, between)
    confident = np.interp(position, np.arange(len(confidence)), confidence)
    return (2.0**moved).astype(np.float32), confident.astype(np.float32)


class Fcpe:
    """FCPE as torchfcpe bundles it; the confidence is its largest output."""

    name = "torchfcpe"
    threshold = 0.006
    has_every_frame = True

    def __init__(self) -> None:
        with _stand_ins("torchaudio"), redirect_stdout(io.StringIO()):  # it chats as it loads
            package: Any = importlib.import_module("torchfcpe")
            self._net = package.spawn_bundled_infer_model(device="cpu")

    def track(self, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Tracker`."""
        import torch

        peak = max(1.0, float(np.abs(audio).max(initial=0.0)))  # it takes no audio beyond full scale
        with torch.inference_mode():
            mel = self._net.wav2mel(torch.from_numpy(audio / np.float32(peak))[None, :, None], SAMPLE_RATE)
            latent = self._net.model(mel)
            cents = self._net.model.latent2cents_local_decoder(latent, mask=False)
            f0_hz = self._net.model.cent_to_f0(cents)[0, :, 0].numpy()
        # The middle of its mel frame j lies on sample 160 j + 80, but it was taught F0 at 160 j, as a glide shows.
        frames = frame_count(len(audio))
        return f0_hz[:frames], latent[0, :frames].amax(dim=-1).numpy()


class Swift:
    """SwiftF0; frames of 16 ms."""

    name = "swift-f0"
    threshold = 0.5
    has_every_frame = True

    def __init__(self) -> None:
        package: Any = importlib.import_module("swift_f0")
        self._detector = package.SwiftF0(threads=1)

    def track(self, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Tracker`."""
        found = self._detector.detect(audio, SAMPLE_RATE)
        f0_hz, confidence = found.pitch_hz.astype(np.float32), found.confidence.astype(np.float32)
        return on_frames(found.timestamps, f0_hz, confidence, frame_count(len(audio)))


class Crepe:
    """CREPE as torchcrepe ports it, decoded as its paper does: the mean around the maximum, no Viterbi, no dither.

    Args:
        capacity: "tiny" or "full".
    """

    # torchcrepe's README calls 0.21 a good threshold of periodicity on clean speech.
    threshold = 0.21
    has_every_frame = True
    _BATCH = 128
    # What a glide shows: the small network's answer is for an instant this much after the middle of its window.
    _CENTRE_S: Mapping[str, float] = {"tiny": 0.0018, "full": 0.0}

    def __init__(self, capacity: str) -> None:
        self.name = f"torchcrepe {capacity}"
        self._capacity = capacity
        # It imports these for what is not used here: Viterbi, other sample rates, loudness, files.
        with _stand_ins("torchaudio", "librosa", "resampy"):
            self._package: Any = importlib.import_module("torchcrepe")

    def track(self, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Tracker`."""
        import torch

        with torch.inference_mode():
            frames = self._package.preprocess(torch.from_numpy(audio)[None], SAMPLE_RATE, HOP, batch_size=self._BATCH)
            found = [self._package.infer(part, self._capacity).numpy() for part in frames]
        salience = np.concatenate(found)
        times = np.arange(len(salience)) * HOP / SAMPLE_RATE + self._CENTRE_S[self._capacity]
        f0_hz, confidence = decode_salience(salience, threshold=-1.0), salience.max(axis=1)
        return on_frames(times, f0_hz, confidence, frame_count(len(audio)))


class World:
    """Harvest, or DIO with StoneMask.

    They decide on voicing themselves, by naming no F0, and give no confidence. Confidence here is 0 there and elsewhere
    D4C's measure, the proportion of the energy below 4 kHz, by which WORLD's analysis takes voicing back if it is
    below 0.85. With the threshold 0 the decision is that of the F0 estimator alone.

    Args:
        method: "harvest" or "dio".
    """

    threshold = 0.0
    has_every_frame = False
    _FLOOR_HZ, _CEILING_HZ = 47.0, 1100.0  # the corpus goes down to 48 Hz

    def __init__(self, method: str) -> None:
        self.name = {"harvest": "WORLD harvest", "dio": "WORLD dio"}[method]
        self._method = method

    def track(self, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Tracker`."""
        f0_hz = world_f0(audio, SAMPLE_RATE, self._method, 10.0, self._FLOOR_HZ, self._CEILING_HZ)
        return f0_hz, low_band_share(audio, f0_hz)


def low_band_share(audio: FloatArray, f0_hz: FloatArray) -> FloatArray:
    """Energy from 100 Hz to 4 kHz over that from 100 Hz to 7.9 kHz, in a Blackman window of three periods.

    Args:
        audio: [N] at 16 kHz.
        f0_hz: [N // 160 + 1], 0 where unvoiced.

    Returns:
        [frames], 0 where unvoiced.
    """
    share = np.zeros(len(f0_hz), dtype=np.float32)
    voiced = np.flatnonzero(f0_hz > 0)
    size, half = 1024, 512  # three periods of 47 Hz are 1021 samples
    padded = np.pad(audio.astype(np.float64), half)
    offsets = np.arange(-half, half)
    phase = np.clip(offsets * f0_hz[voiced, None].astype(np.float64) / (1.5 * SAMPLE_RATE), -1.0, 1.0)
    window = 0.42 + 0.5 * np.cos(np.pi * phase) + 0.08 * np.cos(2 * np.pi * phase)
    pieces = padded[voiced[:, None] * HOP + half + offsets] * window
    pieces -= window * (pieces.sum(axis=1) / window.sum(axis=1))[:, None]
    power = np.abs(np.fft.rfft(pieces, size)) ** 2
    hz = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    low = power[:, (hz >= 100.0) & (hz <= 4000.0)].sum(axis=1)
    both = power[:, (hz >= 100.0) & (hz <= 7900.0)].sum(axis=1)
    share[voiced] = low / np.maximum(both, 1e-30)
    return share


class SmallRmvpe:
    """A network of RMVPE's shape, one pass over the whole signal; the confidence is its largest salience.

    Args:
        model: The network.
        name: For tables.
        threshold: Threshold of the salience.
    """

    has_every_frame = True

    def __init__(self, model: RMVPE, name: str = "small RMVPE", threshold: float = VOICING_THRESHOLD) -> None:
        self.name = name
        self.threshold = threshold
        self.model = model

    def track(self, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Tracker`."""
        import torch

        from ....models.pitch.mel import N_FFT

        frames = frame_count(len(audio))
        # Reflection needs more than half a window of audio; shorter input is continued by silence.
        padded = np.pad(audio, (0, max(N_FFT // 2 + 1 - len(audio), 0)))
        with torch.inference_mode():
            salience = self.model.salience(self.model.mel(torch.from_numpy(padded)[None]))[0, :frames].numpy()
        return decode_salience(salience, threshold=-1.0), salience.max(axis=1)


FACTORIES: Mapping[str, Callable[[], Tracker]] = {
    "torchfcpe": Fcpe,
    "swift-f0": Swift,
    "torchcrepe tiny": lambda: Crepe("tiny"),
    "torchcrepe full": lambda: Crepe("full"),
    "WORLD harvest": lambda: World("harvest"),
    "WORLD dio": lambda: World("dio"),
}


def load(name: str) -> Tracker:
    """One of `FACTORIES`.

    Raises:
        MissingDependencyError: its packages are not installed.
    """
    try:
        return FACTORIES[name]()
    except ImportError as error:
        raise MissingDependencyError(f"{name} is not installed ({error})") from error


def load_installed(names: Sequence[str]) -> tuple[list[Tracker], dict[str, str]]:
    """The trackers that are available, and why the others are not."""
    found: list[Tracker] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            found.append(load(name))
        except MissingDependencyError as error:
            missing[name] = str(error)
    return found, missing


def glide_delay_ms(tracker: Tracker) -> float:
    """By how much a tracker's F0 is late against harmonic tones that rise and fall, which cancels other errors.

    Returns:
        The median over several tones in ms, below 0 if it is early.
    """
    delays = []
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for centre_hz, octaves_per_s, tilt in ((110, 1.5, 0.7), (180, 0.75, 1.3), (180, 1.5, 1.0), (260, 1.5, 0.7)):
        errors = []
        for slope in (octaves_per_s, -octaves_per_s):
            f0_hz = centre_hz * 2.0 ** (slope * (seconds - 0.5))
            phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE
            # The phases are spread, as otherwise the tone would be a row of clicks.
            harmonics = [np.sin(k * phase + k * k) / k**tilt * (k * f0_hz < 7500) for k in range(1, 25)]
            found, _ = tracker.track((0.05 * np.sum(harmonics, axis=0)).astype(np.float32))
            inner = np.arange(20, len(found) - 20)
            inner = inner[found[inner] > 0]
            errors.append(np.median(1200.0 * np.log2(found[inner] / f0_hz[inner * HOP])))
        delays.append(-(errors[0] - errors[1]) / 2.0 / (1200.0 * octaves_per_s) * 1000.0)
    return float(np.median(delays))


class _Absent(ModuleType):
    """Stands for a package that is imported and not used: whatever is asked of it refuses when it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*arguments: object, **options: object) -> None:
            raise MissingDependencyError(f"{self.__name__}.{name} was called, and {self.__name__} is only stood in for")

        return refuse


@contextmanager
def _stand_ins(*names: str) -> Iterator[None]:
    """Let a package be imported without these, which it imports and is not made to use here.

    torchaudio has no build for every torch and fails as it loads; so it is stood in for even where it is installed.
    """
    names = tuple(n for name in names for n in ((name, f"{name}.transforms") if name == "torchaudio" else (name,)))
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules.update({name: _Absent(name) for name in names})
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
