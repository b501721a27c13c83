"""Commands of the role admin that are carried out at once: pairings, clients, panel links, buttons."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .access import Access
from .board import Board
from .commands import NAME_LENGTH, Params, command_named, read_params
from .errors import RemoteError
from .messages import dump
from .pairing import Pairings

if TYPE_CHECKING:
    from .session_commands import Handler, Result

_LABEL = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME_LENGTH}}}", re.ASCII)


class AdminCommands:
    """Carries out commands about who may do what.

    Args:
        access: Tokens.
        board: Where pairings and the log go.
        has_buttons: Whether opening an address may carry out a prepared command.
        connected: Number of connections of a client, by its ID.
        revoked: Called with the ID of a client whose token has been revoked, and the time.
    """

    def __init__(
        self,
        access: Access,
        board: Board,
        has_buttons: bool,
        connected: Callable[[str], int],
        revoked: Callable[[str, float], None],
    ) -> None:
        self.pairings = Pairings()
        self.panel_address = ""
        self._access = access
        self._board = board
        self._has_buttons = has_buttons
        self._connected = connected
        self._revoked = revoked
        self.handlers: dict[str, Handler] = {
            "pairings": lambda params, by, now_s: {"pairings": self._pairings_json(now_s)},
            "pair_answer": self._pair_answer,
            "clients": self._clients,
            "client_remove": self._client_remove,
            "panel_link": self._panel_link,
            "buttons": self._buttons,
            "button_add": self._button_add,
            "button_remove": self._button_remove,
        }

    def show_pairings(self, now_s: float) -> None:
        """Send the pairings to the panels."""
        self._board.lists["pairings"] = dump(self._pairings_json(now_s))

    def _pairings_json(self, now_s: float) -> list[dict[str, Any]]:
        return [pairing.as_json(now_s) for pairing in self.pairings.open]

    def _pair_answer(self, params: Params, by: str, now_s: float) -> Result:
        pairing = self.pairings.check(params["id"])
        grant = None
        if params["allow"]:
            grant = self._access.add_client(pairing.client, params.get("role", pairing.role), "paired")
        self.pairings.answer(pairing, grant, now_s)
        self.show_pairings(now_s)
        self._board.log(f"{pairing.client} {'was paired' if grant else 'was not paired'}", by)
        return {"client": grant[0].id if grant else None}

    def _clients(self, params: Params, by: str, now_s: float) -> Result:
        clients = [
            {
                "id": client.id,
                "name": client.name,
                "role": client.role,
                "kind": client.kind,
                "created_s": client.created_s,
                "connections": self._connected(client.id),
            }
            for client in self._access.clients
        ]
        return {"clients": clients}

    def _client_remove(self, params: Params, by: str, now_s: float) -> Result:
        self._access.remove_client(params["id"])
        self._revoked(params["id"], now_s)
        self._board.log(f"the token of the client {params['id']} was revoked", by)
        return {}

    def _panel_link(self, params: Params, by: str, now_s: float) -> Result:
        token = self._access.panel_link_token(now_s)
        return {"token": token, "url": f"{self.panel_address}#{token}" if self.panel_address else ""}

    def _buttons(self, params: Params, by: str, now_s: float) -> Result:
        buttons = [
            {"id": button.id, "label": button.label, "cmd": button.cmd, "params": dict(button.params)}
            for button in self._access.buttons
        ]
        return {"buttons": buttons}

    def _button_add(self, params: Params, by: str, now_s: float) -> Result:
        if not self._has_buttons:
            raise RemoteError("bad_request", "start altervox with --url-buttons to have addresses carry out commands")
        if not _LABEL.fullmatch(params["label"]):
            raise RemoteError("out_of_range", "label may hold letters, digits, - and _ only", "label")
        spec = command_named(params["cmd"])
        if spec.role != "control" or not spec.by_http:
            raise RemoteError(
                "bad_request", f"{spec.name} cannot be a button; take a command of the role control", "cmd"
            )
        prepared = params.get("params", {})
        read_params(spec, prepared)
        button, token = self._access.add_button(params["label"], spec.name, prepared)
        self._board.log(f"the button {button.label} was added", by)
        return {"id": button.id, "token": token, "path": f"/b/{token}/{button.label}"}

    def _button_remove(self, params: Params, by: str, now_s: float) -> Result:
        self._access.remove_button(params["id"])
        self._board.log(f"the button {params['id']} was removed", by)
        return {}
