"""RVC voices: content encoder, prior, flow and decoder."""
