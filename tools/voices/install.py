"""A trained voice into the library, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ...kernels.errors import CheckpointError, OutputError, VoiceError
from ...models.library import add_voice, check_free, list_voices, replace_neural
from ...models.neural.card import SUFFIX, VoiceCard, read_card
from ...models.neural.voice import NeuralVoice
from ...models.neural.voice_file import VoiceFile, write_voice
from ...models.paths import voices_folder
from .analysis import Example
from .scoring import conversion_metrics

STOPPED = "stopped after"  # in the card of a voice whose training was not finished


def check_name(name: str, state: Path) -> None:
    """Raises VoiceError unless a voice of that name can be installed: a new one, or one whose training was stopped."""
    if not (is_unfinished(name) and state.exists()):
        check_free(name)


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the state of a training against other processes, until this one is over however it ends.

    Raises:
        VoiceError: another process holds it.
        OutputError: its folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(state.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise VoiceError(
            f"another altervox is training {state.stem} already; wait for it, or give another name"
        ) from error
    except OSError as error:
        raise OutputError(f"{state.parent} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def install(voice: VoiceFile, held_out: Sequence[Example], state: Path) -> tuple[VoiceCard, Path]:
    """Write a voice, convert what was held out with it, and put it into the library.

    Args:
        voice: The voice.
        held_out: Utterances of its speaker that were not trained on.
        state: File of the state of its training, beside which it is written first.

    Returns:
        Its card, with what the conversion told, and its folder.

    Raises:
        OutputError: it cannot be written; the library is as it was before.
    """
    name, file = voice.card.name, state.with_suffix(SUFFIX)
    try:
        write_voice(file, voice)
        metrics = conversion_metrics(NeuralVoice.from_file(name, file), held_out)
        card = replace(voice.card, metrics={**voice.card.metrics, **metrics})
        write_voice(file, replace(voice, card=card))
        if is_unfinished(name):
            replace_neural(file, name)
        else:
            add_voice(file, name)
    except OutputError as error:
        raise OutputError(f"{error}; what has been learnt is kept, and the same command goes on from it") from error
    finally:
        with suppress(OSError):
            file.unlink()
    return card, voices_folder() / name


def is_unfinished(name: str) -> bool:
    """Whether there is a voice of that name whose training was stopped."""
    if name not in {info.name for info in list_voices() if info.path is not None}:
        return False
    try:
        return STOPPED in read_card(voices_folder() / name / f"voice{SUFFIX}").trained
    except CheckpointError:
        return False
