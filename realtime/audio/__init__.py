"""Devices: PortAudio streams, the loop between them, delay control, and the process that holds them."""
