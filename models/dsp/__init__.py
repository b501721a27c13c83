"""The voices that need no network: presets over the WORLD vocoder."""
