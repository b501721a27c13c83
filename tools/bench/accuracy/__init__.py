"""Accuracy of the streaming stages: `python -m altervox.tools.bench.accuracy`, from a clone."""
