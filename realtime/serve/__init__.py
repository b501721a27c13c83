"""Remote control: the protocol without I/O, the server around it, the client, and the web panel."""
