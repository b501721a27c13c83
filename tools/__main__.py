"""`python -m altervox.tools` is `altervox`."""

from .cli.main import main

main()
