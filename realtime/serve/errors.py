"""Every error and every close code of the remote protocol, with its meaning: docs and schema are made from these."""

from __future__ import annotations

from ...kernels.errors import AltervoxError
from ...kernels.printable import MESSAGE_LIMIT, printable

# Code: (HTTP status of a command that ends with it, meaning).
ERRORS: dict[str, tuple[int, str]] = {
    "bad_request": (400, "the message or the combination of its fields makes no sense here"),
    "unknown_command": (404, "there is no such command"),
    "unknown_field": (400, "the command has no such field, or there is no such parameter or topic"),
    "missing_field": (400, "the command needs this field"),
    "bad_type": (400, "the value is of another type than the field"),
    "out_of_range": (400, "the value lies outside its range, or is not one of the choices"),
    "auth_required": (401, "send `auth` or `pair` first; the connection is closed with 4401"),
    "denied": (401, "the token is wrong, or the pairing was refused; the connection is closed with 4401"),
    "forbidden": (403, "the token's role may not do this"),
    "wait": (429, "too many attempts from this address; try again later"),
    "unknown_voice": (404, "there is no voice of that name; the message names the nearest"),
    "not_found": (404, "there is no hold, pairing, client or button of that ID"),
    "conflict": (409, "`if_rev` is not the current revision; nothing has changed"),
    "busy": (409, "start, stop or measure is being carried out, or too much is waiting"),
    "not_running": (409, "the command needs a running session"),
    "running": (409, "the command needs a stopped session"),
    "not_in_batch": (400, "this command cannot be part of a batch"),
    "too_many": (409, "a limit is reached, such as the number of holds, pairings, clients or buttons"),
    "timeout": (408, "nobody answered the pairing within 60 s; the connection is closed with 4408"),
    "audio_off": (409, "this server has no audio sessions"),
    "full": (503, "there is no room for another audio session; the connection is closed with 4503"),
    "bad_resume": (404, "the token resumes no audio session: it is wrong, was used before, or came too late"),
    "bad_frame": (400, "a binary frame is not what is due; the connection is closed with 4400"),
    "worker_died": (500, "the process that converted the audio session is gone; the connection is closed with 4410"),
    "ended": (409, "the audio session was ended by somebody else; the connection is closed with 4410"),
    "failed": (409, "the session refused or could not do it; the message says why"),
    "internal": (500, "a fault of altervox, which its log describes"),
}

BAD_MESSAGE, UNAUTHORIZED, FORBIDDEN_ORIGIN, TIME_OUT = 4400, 4401, 4403, 4408
REPLACED, AUDIO_ENDED, TOO_BIG, TOO_FAST, FULL = 4409, 4410, 4413, 4429, 4503
CLOSE_CODES: dict[int, str] = {
    BAD_MESSAGE: "bad message: no JSON object, a duplicate key, NaN or infinite, nested too deep, or a frame of audio "
    "that is not what is due",
    UNAUTHORIZED: "no or a wrong token, a refused pairing, or the token was revoked",
    FORBIDDEN_ORIGIN: "foreign Origin or Host",
    TIME_OUT: "not authenticated within 5 s, or the pairing was not answered",
    REPLACED: "the audio session was resumed on another connection",
    AUDIO_ENDED: "the audio session has ended; the reason says why",
    TOO_BIG: "message of more than 64 KiB; beyond 128 KiB the code is 1009",
    TOO_FAST: "more than 200 commands a second for long, or replies that are not read",
    FULL: "too many connections or audio sessions, or the server shuts down",
}


class RemoteError(AltervoxError):
    """A command was refused.

    Attributes:
        code: One of `ERRORS`.
        field: Field of the command that is at fault; empty for none.
        message: One sentence for a person.
    """

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = printable(field, 64)
        self.message = printable(message, MESSAGE_LIMIT)

    def as_json(self) -> dict[str, str]:
        """The error as it is sent."""
        return {"code": self.code, "field": self.field, "message": self.message}
