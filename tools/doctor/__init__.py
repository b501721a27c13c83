"""`altervox doctor`: the checks of a machine."""
