"""Remote control of a live session: a protocol over WebSocket, commands over HTTP, and a panel for the browser."""
