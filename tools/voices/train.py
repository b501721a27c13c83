"""`altervox voices train`: from recordings to a voice in the library."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ...kernels.errors import AudioFileError, VoiceError
from ...kernels.printable import MESSAGE_LIMIT, encodable, printable
from ...kernels.world import SAMPLE_RATE
from ...models.neural.card import VoiceCard
from ...models.neural.network import Encoder
from ...models.neural.step import Speaking
from ...models.neural.voice_file import VoiceFile
from ...models.paths import training_state
from ..cli.voices import command_line
from .analysis import Example, analyse_recording
from .base import base_voice
from .checks import check
from .consent import consent
from .install import STOPPED, check_name, install, is_unfinished, only_one
from .material import hear, make_material, views_of
from .progress import Part, shown
from .recordings import as_float, read_recordings, utterances
from .scoring import envelope_distance_db, pitch_statistics, with_natural_variance
from .show import keep_sample
from .stop import stoppable
from .tuning import Tuning, TuningConfig, check_writable

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

CONFIG = TuningConfig()
_HELD_OUT = 0.1
_MOST_HELD_OUT_S = 60.0
_FINISHING_S = 30.0  # of the time, for what comes after training
_FEWEST_STEPS = 50  # with which a voice has begun to sound like the recordings
_MOST_SAID = 10  # sentences about what is wrong with the recordings, of which there may be a thousand
_MIDDLE_LOG2_HZ = 7.35  # 163 Hz, between lower and higher voices
_LIMITS = "speech like that of the recordings; singing, whispering and shouting were not trained"


@dataclass(frozen=True, slots=True)
class Utterances:
    """What training has of the recordings.

    Attributes:
        trained: The utterances to learn from.
        held_out: Those to judge by.
        is_wide: Whether they hold what lies above 8 kHz.
        remarks: What was left out or found wrong, in sentences.
        recordings: Number of recordings.
    """

    trained: list[Example]
    held_out: list[Example]
    is_wide: bool
    remarks: list[str]
    recordings: int

    @property
    def seconds(self) -> float:
        """Length of all."""
        return sum(len(example.level) for example in (*self.trained, *self.held_out)) / 100.0


def train(
    name: str,
    inputs: Sequence[Path],
    given_consent: str | None,
    force: bool,
    minutes: float,
    seed: int,
    as_json: bool,
) -> int:
    """Make a voice of recordings.

    Args:
        name: Its name.
        inputs: Files and folders.
        given_consent: Who agrees that it is made; None asks.
        force: Whether to go on although the recordings are not fit.
        minutes: How long it may take.
        seed: Seed of everything random.
        as_json: Print JSON instead of lines.

    Returns:
        The exit code.

    Raises:
        AltervoxError: a name that is taken, no consent, unfit recordings, a full disk; the library is as it was before.
    """
    state = training_state(name)
    check_name(name, state)
    encoder, base_card, base = base_voice()
    agreed = consent(given_consent)
    started_s = time.monotonic()
    with only_one(state), shown() as part:
        check_writable(state)
        found = _prepare(inputs, force, seed, part)
        heard = _counted(part("listening", views_of(found.trained) * len(found.trained)))
        material = make_material(found.trained, encoder, seed, heard)
        tuning = Tuning(base, material, found.is_wide, replace(CONFIG, seed=seed), state)
        _say_what_it_goes_on_from(name, tuning)
        with stoppable() as is_stopped:
            _tune(tuning, started_s + 60.0 * minutes - _FINISHING_S, part, is_stopped)
            if is_stopped():
                click.echo("stopping: the voice is made of what has been learnt so far", err=True)
            _check_steps(tuning, minutes, is_stopped())
            judged = part("judging by what was held out", 1)
            speaking, card = _judged(name, agreed, base_card, tuning, found, encoder)
            card, folder = install(VoiceFile(card, speaking, encoder), found.held_out, state)
            judged(1)
            if tuning.is_finished:
                tuning.forget()
    keep_sample(folder, found.held_out)
    _report(card, folder, found.remarks, time.monotonic() - started_s, as_json)
    return 0


def _say_what_it_goes_on_from(name: str, tuning: Tuning) -> None:
    """Say where an interrupted training goes on.

    Raises:
        VoiceError: a voice would be replaced by one made of other recordings.
    """
    if tuning.step:
        click.echo(f"going on from step {tuning.step}", err=True)
    elif is_unfinished(name):
        raise VoiceError(
            f"{name} is there already, stopped while it was made of other recordings or with another --seed: remove it "
            "first, or give another name"
        )
    elif tuning.is_of_others:
        log.warning("what was learnt before was of other recordings or with another --seed: it begins anew")


def _check_steps(tuning: Tuning, minutes: float, is_stopped: bool) -> None:
    """Warn of a voice that has hardly begun to learn.

    Raises:
        VoiceError: time was too short to learn anything.
    """
    if tuning.step >= min(_FEWEST_STEPS, tuning.config.steps):
        return
    if not is_stopped:
        tuning.keep()
        raise VoiceError(
            f"{minutes:g} min were over after {tuning.step} of {tuning.config.steps} steps, too few for a voice: give "
            "the same command with more --minutes, and it goes on from there"
        )
    log.warning("the voice has learnt for %d steps only, and hardly sounds like the recordings yet", tuning.step)


def _prepare(inputs: Sequence[Path], force: bool, seed: int, part: Part) -> Utterances:
    """Read, check and analyse the recordings.

    Raises:
        AudioFileError: they cannot be read, or a voice cannot be made of them.
    """
    advance = part("reading and checking the recordings", 2)
    found = read_recordings(inputs)
    advance(1)
    checked = check(found.items, [utterances(recording.audio) for recording in found.items])
    findings, remarks = checked.findings, found.remarks + checked.remarks
    for remark in remarks[:_MOST_SAID]:
        log.warning("%s", remark)
    if len(remarks) > _MOST_SAID:
        log.warning("and %d more; --json lists all", len(remarks) - _MOST_SAID)
    is_refused = bool(findings) and not (force and all(finding.can_force for finding in findings))
    for finding in findings[1:_MOST_SAID] if is_refused else findings[:_MOST_SAID]:
        log.warning("%s", finding.message)
    if is_refused:
        way_on = "; --force goes on all the same" if all(finding.can_force for finding in findings) else ""
        raise AudioFileError(findings[0].message + way_on)
    advance(2)
    pairs = zip(checked.recordings, checked.cuts, strict=True)
    every = [recording.audio[cut] for recording, of_one in pairs for cut in of_one]
    analysed = _counted(part("analysing", len(every)))
    examples = []
    for audio in every:
        examples.append(analyse_recording(as_float(audio), SAMPLE_RATE))
        analysed()
    chosen = _held_out(examples, seed)
    return Utterances(
        [example for i, example in enumerate(examples) if i not in chosen],
        [examples[i] for i in sorted(chosen)],
        checked.is_wide,
        remarks + [finding.message for finding in findings],
        len(checked.recordings),
    )


def _held_out(examples: Sequence[Example], seed: int) -> set[int]:
    """Which utterances are not trained on: a tenth of them, at least one, at most a minute."""
    order = np.random.default_rng((seed, 10)).permutation(len(examples))
    chosen: set[int] = set()
    seconds = 0.0
    for i in order[: max(round(_HELD_OUT * len(order)), 1)].tolist():
        if chosen and seconds > _MOST_HELD_OUT_S:
            break
        chosen.add(i)
        seconds += len(examples[i].level) / 100.0
    return chosen


def _counted(advance: Callable[[int], None]) -> Callable[[], None]:
    """Counts what is done."""
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        advance(done)

    return one_more


def _tune(tuning: Tuning, deadline_s: float, part: Part, is_stopped: Callable[[], bool]) -> None:
    advance = part("training", tuning.steps)
    was_kept = True
    for step in tuning.run(deadline_s):
        advance(round(step * tuning.config.steps / max(tuning.steps, 1)))
        if was_kept and not tuning.is_kept:
            was_kept = False
            log.warning("the state of the training cannot be kept, for the disk is full: it cannot be taken up again")
        if is_stopped():
            break
    if not tuning.is_finished:
        tuning.keep()


def _judged(
    name: str, agreed: str, base: VoiceCard, tuning: Tuning, utterances: Utterances, encoder: Encoder
) -> tuple[Speaking, VoiceCard]:
    """The voice with its natural variance, and its card without what only a conversion tells."""

    def heard(examples: Sequence[Example]) -> list[tuple[NDArray[np.float16], Example]]:
        return [(hear(example, encoder), example) for example in examples]

    held_out = heard(utterances.held_out)
    trained = heard(utterances.trained[:20])
    speaking = with_natural_variance(tuning.spoken(), held_out + trained, utterances.is_wide)
    mean, spread = pitch_statistics(utterances.trained)
    now = datetime.now(UTC)
    minutes = utterances.seconds / 60.0
    done = f"{tuning.step} steps" if tuning.is_finished else f"{STOPPED} {tuning.step} of {tuning.config.steps} steps"
    card = VoiceCard(
        name,
        f"made of {minutes:.0f} min of speech on {now.date().isoformat()}",
        "lower" if mean < _MIDDLE_LOG2_HZ else "higher",
        round(mean, 4),
        round(spread, 4),
        base.encoder_sha256,
        data=f"{minutes:.1f} min of speech in {utterances.recordings} recordings",
        licence=f"for what the speaker has agreed to; made from the base voice of altervox ({base.licence})",
        attribution=base.attribution,
        consent=agreed,
        metrics={
            "envelope_db": round(envelope_distance_db(speaking, held_out, utterances.is_wide), 2),
            "held_out_s": round(sum(len(example.level) for example in utterances.held_out) / 100.0, 1),
            "steps": tuning.step,
        },
        limits=_LIMITS,
        trained=f"{now.isoformat(timespec='seconds')}, altervox {version('altervox')}, {done}, {tuning.seconds:.0f} s",
    )
    return speaking, card


def _report(card: VoiceCard, folder: Path, remarks: Sequence[str], seconds: float, as_json: bool) -> None:
    if as_json:
        described = {**asdict(card), "metrics": dict(card.metrics)}
        row: dict[str, Any] = {"name": encodable(card.name), "path": encodable(folder), "seconds": round(seconds, 1)}
        click.echo(
            json.dumps(row | {"remarks": [printable(r, MESSAGE_LIMIT) for r in remarks], "card": described}, indent=1)
        )
        return
    metrics = card.metrics
    click.echo(f"made {card.name} in {int(seconds) // 60}:{int(seconds) % 60:02d}: {card.trained}")
    click.echo(
        f"of {metrics['held_out_s']:.0f} s that were held out: envelope within {metrics['envelope_db']:.1f} dB, "
        f"correlation of F0 {metrics['f0_correlation']:.2f}, voicing as in the source in "
        f"{100.0 * metrics['voicing_agreement']:.0f} % of the frames, level {metrics['level_db']:+.1f} dB"
    )
    if STOPPED in card.trained:
        click.echo("the same command goes on from there")
    click.echo(f"hear it: {command_line(['voices', 'show', card.name, '--sample', f'{card.name}.wav'])}")
    click.echo(f"use it: {command_line(['live', '--voice', card.name])}")
