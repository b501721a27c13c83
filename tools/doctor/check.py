"""One line of `altervox doctor`'s report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        check: What was looked at.
        status: "ok", "warning" (something will be missing or slow) or "error" (something will fail).
        found: What is there.
        remedy: What to do; empty when all is well.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""
