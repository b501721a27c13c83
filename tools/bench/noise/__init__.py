"""Noise suppression and gates on noisy speech: `python -m altervox.tools.bench.noise`, from a clone."""
