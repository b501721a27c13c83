"""The one exception tree: whatever altervox refuses to do, it says with a subclass of `AltervoxError`.

Every message is one sentence for a person: it names the thing, the value and the way out. The command line prints the
message without a traceback and exits with `exit_code`.
"""


class AltervoxError(Exception):
    """Base of all errors that altervox raises on purpose."""

    exit_code = 1


class ParameterError(AltervoxError):
    """A parameter is out of its range or does not fit the others."""

    exit_code = 2


class AudioFileError(AltervoxError):
    """An audio file cannot be read, or is not what it claims to be."""


class OutputError(AltervoxError):
    """A result cannot be written."""


class VoiceError(AltervoxError):
    """A voice is unknown or cannot be used."""


class UnknownVoiceError(VoiceError):
    """No voice of that name: wrong usage rather than a failure."""

    exit_code = 2


class CheckpointError(VoiceError):
    """A model file is damaged, unsafe, of another kind or of an unsupported architecture."""


class BaseModelError(AltervoxError):
    """A base model (content encoder, RMVPE) is missing and could not be fetched."""


class MissingDependencyError(AltervoxError):
    """An optional package is needed and not installed."""


class DeviceError(AltervoxError):
    """A compute device was asked for that this machine or this torch build does not have."""


class AudioDeviceError(AltervoxError):
    """Microphones, outputs or virtual cables: one is missing, cannot be used or cannot be made."""


class UnknownAudioDeviceError(AudioDeviceError):
    """No sound device of that name, or several: wrong usage rather than a failure."""

    exit_code = 2


class ServerError(AltervoxError):
    """The remote control cannot be served, or its server cannot be found or reached."""
