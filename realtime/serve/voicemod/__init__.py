"""An API that is compatible with Voicemod's Control API, over the one protocol."""
