"""Choosing, watching and making audio devices."""
