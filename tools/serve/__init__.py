"""`altervox serve`: the live session under remote control."""
