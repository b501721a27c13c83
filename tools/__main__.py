"""`python -m altervox.tools` is `altervox`."""

from .cli import main

main()
