"""A session without devices: effects, voice changes, recording and status."""
