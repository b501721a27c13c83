"""RVC's real-time loop, the baseline of altervox's engine: `python -m altervox.tools.bench.reference`, from a clone."""
