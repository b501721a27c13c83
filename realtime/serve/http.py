"""What the server answers over HTTP, without sockets: the panel's files, and commands with values in the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

from .access import Client
from .errors import ERRORS, RemoteError
from .executor import Effect
from .messages import dump
from .origin import OriginCheck
from .pages import Page, load_pages
from .protocol import Hub
from .runtime import SOCKET_PATH
from .schema import json_schema
from .settings import ServerSettings

_MOST_FIELDS = 64  # of an address
_RETRY_S = 5
_EVERYWHERE = {
    "Connection": "close",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NO_STORE = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """A request without a body.

    Attributes:
        method: GET, POST and so on.
        target: Path and query as they were sent.
        headers: Headers by names in lower case; those that were repeated are joined by commas.
        peer: Address that it came from, without its port.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    peer: str

    @property
    def path(self) -> str:
        """The path as it was sent."""
        return self.target.partition("?")[0]

    @property
    def wants_socket(self) -> bool:
        """Whether it asks for a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, after which the connection is closed.

    Attributes:
        status: HTTP status.
        body: Content.
        headers: Headers.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def phrase(self) -> str:
        """What the status is called."""
        return HTTPStatus(self.status).phrase

    def serialize(self) -> bytes:
        """The answer as it is sent."""
        lines = [f"HTTP/1.1 {self.status} {self.phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace") + self.body


Answer = Callable[[Response], None]


class HttpRoutes:
    """Answers requests.

    Args:
        hub: Carries out commands.
        settings: Settings of the server.
        run: Runs an effect on a thread and has the hub finish it.
    """

    def __init__(self, hub: Hub, settings: ServerSettings, run: Callable[[Effect], None]) -> None:
        self._hub = hub
        self._run = run
        self._has_buttons = settings.url_buttons
        self._check = OriginCheck(settings)
        self._pages = load_pages()
        self._schema = dump(json_schema()).encode()

    def refusal(self, request: Request) -> Response | None:
        """What a request gets that must not even ask for a WebSocket; None if it may."""
        headers = request.headers
        if request.path in self._pages and headers.get("sec-fetch-mode") == "navigate":
            headers = {**headers, "sec-fetch-site": "none"}  # a link to the panel: what is secret needs a token
        said = self._check.refusal(headers)
        return refused(said) if said else None

    def handle(self, request: Request, now_s: float, answer: Answer) -> None:
        """Answer a request that was not refused, now or after an effect has finished.

        Args:
            request: The request.
            now_s: Time of the server's clock.
            answer: Called once.
        """
        origin = self._check.allowed_origin(request.headers)

        def reply(response: Response) -> None:
            if origin:
                shared = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
                shared["Cross-Origin-Resource-Policy"] = "cross-origin"
                response = Response(response.status, response.body, {**response.headers, **shared})
            answer(Response(response.status, b"", response.headers) if request.method == "HEAD" else response)

        try:
            if request.method == "OPTIONS" and origin:
                reply(_response(HTTPStatus.NO_CONTENT, headers=_PREFLIGHT))
            else:
                self._route(request, now_s, reply)
        except RemoteError as error:
            reply(_error(error))

    def _route(self, request: Request, now_s: float, reply: Answer) -> None:
        if not request.target.startswith("/"):
            raise RemoteError("bad_request", "an address begins with a slash")
        match [_decoded(part) for part in request.path.split("/")[1:]]:
            case _ if request.path in self._pages:
                self._allow(request, "GET", "HEAD")
                reply(_page_response(self._pages[request.path], request))
            case ["v1", "schema.json"]:
                self._allow(request, "GET", "HEAD")
                reply(_response(HTTPStatus.OK, self._schema, _JSON))
            case ["v1", "state"]:
                self._allow(request, "GET", "HEAD")
                self._client(request, now_s)
                reply(_json(HTTPStatus.OK, self._hub.state_json(now_s)))
            case ["v1", "picture", name]:
                self._allow(request, "GET", "HEAD")
                self._client(request, now_s)
                self._picture(name, reply)
            case ["v1", "do", command]:
                self._allow(request, "POST")
                client = self._client(request, now_s)
                self._hub.do_http(command, _fields(request), client, now_s, lambda *found: reply(_json(*found)))
            case ["b", token, label] if self._has_buttons:
                self._allow(request, "GET")
                if "prefetch" in request.headers.get("sec-purpose", request.headers.get("purpose", "")):
                    raise RemoteError("forbidden", "a button is not pressed before somebody presses it")
                self._hub.do_button(token, label, request.peer, now_s, lambda *found: reply(_json(*found)))
            case ["b", *_]:
                raise RemoteError("not_found", "start altervox with --url-buttons to have addresses carry out commands")
            case [""] | ["v1"]:
                raise RemoteError("bad_request", f"{SOCKET_PATH} is for WebSocket connections")
            case _:
                raise RemoteError("not_found", "there is nothing at this address")

    def _allow(self, request: Request, *methods: str) -> None:
        if request.method not in methods:
            raise _MethodError(methods)

    def _client(self, request: Request, now_s: float) -> Client:
        """Who asks.

        Raises:
            RemoteError: There is no token, or it is wrong.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise RemoteError("auth_required", "send the header Authorization: Bearer TOKEN")
        return self._hub.authenticate(token.strip(), request.peer, now_s)

    def _picture(self, name: str, reply: Answer) -> None:
        def read() -> tuple[bytes, str]:
            picture = self._hub.voices.picture(name)
            if picture is None:
                raise RemoteError("not_found", "there is no picture of such a voice")
            return picture.data, picture.media_type

        def finished(result: Any, now_s: float) -> None:
            reply(_error(result) if isinstance(result, RemoteError) else _response(HTTPStatus.OK, *result))

        self._run(Effect("picture", read, finished))


class _MethodError(RemoteError):
    def __init__(self, methods: tuple[str, ...]) -> None:
        super().__init__("bad_request", f"this address takes {' or '.join(methods)}")
        self.methods = methods


def refused(said: str) -> Response:
    """What is answered to a request that must not control the session."""
    return _error(RemoteError("forbidden", said))


def unavailable(reason: str = "too many connections") -> Response:
    """What a server answers that has no room."""
    response = _error(RemoteError("too_many", f"{reason}: try again in {_RETRY_S} s"))
    headers = {**response.headers, "Retry-After": str(_RETRY_S)}
    return Response(HTTPStatus.SERVICE_UNAVAILABLE, response.body, headers)


def timed_out() -> Response:
    """What is answered to a socket that has not asked for anything in time."""
    return _error(RemoteError("timeout", "no request has come in time"))


def not_understood() -> Response:
    """What is answered to bytes that are no request, or a request with a body."""
    said = (
        "altervox reads no request with a body: put the values into the address, such as POST /v1/do/set?pitch=3, and "
        "send nothing after the headers"
    )
    return _error(RemoteError("bad_request", said))


_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}


def _fields(request: Request) -> list[tuple[str, str]]:
    """Names and values of an address."""
    query = request.target.partition("?")[2]
    if not query:
        return []
    try:
        found = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:  # UnicodeDecodeError is one, too
        raise RemoteError("bad_request", "write values as ?name=value&name=value, in UTF-8") from None
    if any(name in ("token", "access_token") for name, _ in found):
        raise RemoteError("bad_request", "addresses are logged: send the token as Authorization: Bearer TOKEN", "token")
    return [(name, value.strip()) for name, value in found]  # "+1" has become " 1"


def _decoded(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise RemoteError("bad_request", "an address is written in UTF-8") from None


def _page_response(page: Page, request: Request) -> Response:
    host = request.headers.get("host", "").lower()  # it has been checked, and holds nothing that a policy could mean
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        f"connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": policy, "ETag": page.tag}
    if page.tag in request.headers.get("if-none-match", ""):
        return _response(HTTPStatus.NOT_MODIFIED, headers=headers)
    return _response(HTTPStatus.OK, page.content, page.content_type, headers)


def _json(status: int, content: Mapping[str, Any]) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return _response(status, f"{dump(content)}\n".encode(errors="replace"), _JSON, headers)


def _error(error: RemoteError) -> Response:
    content = {"ok": False, "error": error.as_json()}
    if not isinstance(error, _MethodError):
        return _json(ERRORS[error.code][0], content)
    response = _json(HTTPStatus.METHOD_NOT_ALLOWED, content)
    return Response(response.status, response.body, {**response.headers, "Allow": ", ".join(error.methods)})


def _response(
    status: int, body: bytes = b"", content_type: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    kind = {"Content-Type": content_type} if content_type else {}
    length = {} if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED) else {"Content-Length": str(len(body))}
    return Response(status, body, {**_EVERYWHERE, **_NO_STORE, **kind, **length, **(headers or {})})
