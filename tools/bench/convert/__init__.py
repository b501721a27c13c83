"""Speed and memory of file conversion: `python -m altervox.tools.bench.convert`, from a clone."""
