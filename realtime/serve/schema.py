"""JSON Schema of every message, made from the tables of commands, parameters, topics and errors."""

from __future__ import annotations

from typing import Any

from ..session.state import PARAMETERS
from .arguments import parameter_schema
from .audio.reports import LISTED
from .commands import COMMANDS, MOST_IN_BATCH, CommandSpec
from .errors import CLOSE_CODES, ERRORS
from .topics import TOPICS

Schema = dict[str, Any]
_LATENCY = ("device_in", "block", "voice", "resamplers", "prefill", "device_out", "devices", "total")
_ID: Schema = {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 64}]}
_REV: Schema = {"type": "integer", "minimum": 0, "description": "Revision of the session's requested state"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_BOOL: Schema = {"type": "boolean"}


def json_schema() -> Schema:
    """The schema: messages of either side; `$defs` has each kind of its own."""
    kinds = ("command", "reply", "refusal", "hello", "event")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "altervox remote protocol 1",
        "anyOf": [_ref(kind) for kind in kinds],
        "$defs": {
            "parameters": {"type": "object", "properties": _parameters()},
            "command": {"oneOf": [_message(spec) for spec in COMMANDS.values()]},
            "reply": _object(
                {"id": _ID, "ok": {"const": True}, "result": {"type": "object"}, "rev": _REV},
                "id",
                "ok",
                "result",
                "rev",
            ),
            "refusal": _object(
                {
                    "id": {"anyOf": [*_ID["anyOf"], {"type": "null"}]},
                    "ok": {"const": False},
                    "error": _ref("error"),
                    "rev": _REV,
                },
                *("id", "ok", "error", "rev"),
            ),
            "error": _object(
                {
                    "code": {"oneOf": [{"const": code, "description": said} for code, (_, said) in ERRORS.items()]},
                    "field": _TEXT,
                    "message": _TEXT,
                },
                *("code", "field", "message"),
            ),
            "hello": _object({"hello": _hello()}, "hello"),
            "event": {"oneOf": [_event(topic) for topic in _DATA]},
            "close_code": {"oneOf": [{"const": code, "description": said} for code, said in CLOSE_CODES.items()]},
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _parameters() -> Schema:
    return {parameter.key: parameter_schema(parameter) for parameter in PARAMETERS.values()}


# From clients: unknown fields are refused.


def _message(spec: CommandSpec) -> Schema:
    params = _params(spec)
    needs = [
        "id",
        "cmd",
        *(["params"] if params.get("required") or params.get("allOf") or params.get("minProperties") else []),
    ]
    properties = {"id": _ID, "cmd": {"const": spec.name}, "params": params, "if_rev": _REV}
    return {
        "type": "object",
        "description": spec.help,
        "x-role": spec.role,
        "x-http": spec.by_http,
        "properties": properties,
        "required": needs,
        "additionalProperties": False,
    }


def _params(spec: CommandSpec) -> Schema:
    properties: Schema = {}
    for argument in spec.arguments:
        properties[argument.name] = argument.schema()
        if argument.alias:
            properties[argument.alias] = argument.schema()
    if spec.takes_parameters:
        properties |= {name: {"$ref": f"#/$defs/parameters/properties/{p.key}"} for name, p in PARAMETERS.items()}
        properties |= {p.key: {"$ref": f"#/$defs/parameters/properties/{p.key}"} for p in PARAMETERS.values()}
    match spec.name:
        case "subscribe":
            properties["topics"] = {**properties["topics"], **_topics()}
        case "batch":
            properties["commands"] = {**properties["commands"], "items": _batched(), "maxItems": MOST_IN_BATCH}
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    needed = [argument for argument in spec.arguments if argument.is_required]
    if required := [argument.name for argument in needed if not argument.alias]:
        found["required"] = required
    if either := [argument for argument in needed if argument.alias]:
        found["allOf"] = [{"oneOf": [{"required": [a.name]}, {"required": [a.alias]}]} for a in either]
    if spec.takes_parameters and spec.needs_value:
        found["minProperties"] = 1 + len(needed)
    return found


def _topics() -> Schema:
    def options(most_hz: int) -> Schema:
        hz = {"hz": {"type": "number", "minimum": 1, "maximum": most_hz}} if most_hz else {}
        return {"type": "object", "properties": hz, "additionalProperties": False}

    properties = {
        topic: {"description": said, "x-role": role, **options(most_hz)}
        for topic, (said, role, most_hz) in TOPICS.items()
    }
    return {"properties": properties, "additionalProperties": False}


def _batched() -> Schema:
    def one(spec: CommandSpec) -> Schema:
        message = _message(spec)
        kept = {name: message["properties"][name] for name in ("cmd", "params")}
        return {**message, "properties": kept, "required": [name for name in message["required"] if name != "id"]}

    return {"oneOf": [one(spec) for spec in COMMANDS.values() if spec.in_batch]}


# From the server: clients ignore fields that they do not know.


def _hello() -> Schema:
    properties = {
        "protocol": {"const": 1},
        "min": {"const": 1},
        "server": _TEXT,
        "session": _TEXT,
        "features": _list(_TEXT),
        "auth": _list(_TEXT),
    }
    return _object(properties, *properties)


def _event(topic: str) -> Schema:
    properties: Schema = {"event": {"const": topic}, "data": _DATA[topic]}
    required = ["event", "data"]
    if topic not in _UNASKED:
        properties["seq"] = _COUNT
        required.append("seq")
    match topic:
        case "state":
            properties |= {"rev": _REV, "full": {"const": True}, "by": _TEXT}
            required.append("rev")
            everything = {"properties": {"data": {"required": list(_STATE)}}}
            return {**_object(properties, *required), "if": {"required": ["full"]}, "then": everything}
        case "log":
            properties["lost"] = _COUNT
    return _object(properties, *required)


_HOLD = _object({"id": _TEXT, "by": _TEXT, "values": {"type": "object"}, "remaining_s": _NUMBER}, "id", "remaining_s")
_STATE: Schema = {
    "session": {"enum": ["stopped", "starting", "running", "reconnecting", "failed"]},
    "voice": {**_TEXT, "description": "The requested voice"},
    "sounding": {**_TEXT, "description": "The voice that is heard; empty while stopped"},
    "loading": _BOOL,
    **{key: {"$ref": f"#/$defs/parameters/properties/{key}"} for key in _parameters()},
    "recording": _BOOL,
    "recording_error": _TEXT,
    "causes": _list(_TEXT),
    "input_device": _TEXT,
    "output_device": _TEXT,
    "monitor_device": _TEXT,
    "sample_rate": _COUNT,
    "block_ms": _NUMBER,
    "longer_block_ms": {**_COUNT, "description": "Block size that is offered because blocks are late; 0 for none"},
    "holds": _list(_HOLD),
    "can_start": _BOOL,
}
_LEVELS = ("input_peak_db", "output_peak_db", "gate_gain_db", "gate_db", "f0_hz", "output_f0_hz")
_METERS: Schema = {**dict.fromkeys(_LEVELS, _NUMBER), "input_is_silent": _BOOL}
_COUNTED = ("blocks", "late_blocks", "failed_blocks", "nonfinite_blocks", "underruns", "overruns")
_TIMED = ("seconds", "start_ms", "underrun_ms", "overrun_ms", "interrupted_ms", "block_ms", "deadline_ms", "p50_ms")
_STATS: Schema = {
    **dict.fromkeys(_COUNTED, _COUNT),
    **dict.fromkeys((*_TIMED, "p95_ms", "p99_ms", "max_ms", "drift_ppm", "prefill_grown_ms"), _NUMBER),
    "latency_ms": _object({**dict.fromkeys(_LATENCY, _NUMBER), "is_measured": _BOOL}, "total"),
    "block_histogram": {**_list(_COUNT), "description": "How many of the last blocks took which 1/20 of the deadline"},
}
_DEVICE = _object({"name": _TEXT, "is_default": _BOOL, "is_cable": _BOOL, "listening_name": _TEXT}, "name")
_VOICE = _object(
    {
        "name": _TEXT,
        "kind": _TEXT,
        "sample_rate": {"type": ["integer", "null"]},
        "description": _TEXT,
        "picture": _BOOL,
    },
    *("name", "kind", "sample_rate", "description", "picture"),
)
_PAIRING = _object(
    {"id": _TEXT, "client": _TEXT, "peer": _TEXT, "code": _TEXT, "icon": _TEXT, "remaining_s": _NUMBER},
    *("id", "client", "peer", "code", "icon", "remaining_s"),
)
_AUDIO_SPEC: Schema = {
    "session": {"type": "integer", "minimum": 1, "maximum": 65535},
    "rate": _COUNT,
    "format": {"enum": ["s16", "f32"]},
    "block_ms": _COUNT,
    "pace": {"enum": ["live", "fast"]},
}
_AUDIO_STATE: Schema = {
    "voice": _TEXT,
    "sounding": _TEXT,
    "loading": _BOOL,
    **{key: {"$ref": f"#/$defs/parameters/properties/{key}"} for key in _parameters()},
    "late_blocks": _COUNT,
    "dropped_samples": _COUNT,
    **dict.fromkeys(("p50_ms", "p99_ms", "latency_ms"), _NUMBER),
    "load": {**_NUMBER, "description": "Part of a core that the session takes"},
    "cause": _TEXT,
}
_AUDIO_LISTED: Schema = {
    **_AUDIO_SPEC,
    **{name: _AUDIO_STATE[name] for name in LISTED},
    "client": _TEXT,
    "is_connected": _BOOL,
}
_UNASKED = ("pairing", "audio", "audio_end")  # events that come without a subscription
_DATA: Schema = {
    "state": {"type": "object", "properties": _STATE},
    "voices": _list(_VOICE),
    "devices": _object({"inputs": _list(_DEVICE), "outputs": _list(_DEVICE)}, "inputs", "outputs"),
    "log": _object({"at": _NUMBER, "by": _TEXT, "text": _TEXT}, "at", "by", "text"),
    "meters": _object(_METERS, *_METERS),
    "stats": _object(_STATS, *_STATS),
    "pairings": _list(_PAIRING),
    "pairing": _object({"code": _TEXT, "seconds": _NUMBER}, "code", "seconds"),
    "audio_sessions": _list(_object(_AUDIO_LISTED, *_AUDIO_LISTED)),
    "audio": _object(_AUDIO_STATE, *_AUDIO_STATE),
    "audio_end": _ref("error"),
}
