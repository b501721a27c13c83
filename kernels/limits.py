"""Limits of levels. No NumPy here: the command line and controllers read them and must start at once."""

from __future__ import annotations

LOUDEST = 1000.0  # samples beyond are clipped: nothing that is audio, but filters must stay finite
GATE_OFF_DB = -60.0  # at or below this threshold the gate does nothing
