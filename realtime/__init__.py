"""The live path: what turns blocks of microphone audio into blocks of another voice."""
