"""The live path: device callbacks, the engine's loop between them, and the process that holds both."""
