"""How shipped networks are made. Runs from a clone, not part of the wheel."""
