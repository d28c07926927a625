"""The command line: parses, calls, prints. No logic lives here.

- :mod:`optical.cli.app`: the program, what its commands share, and how errors are shown.
- :mod:`optical.cli.train`: commands that make a student or a teacher.
- :mod:`optical.cli.search`: commands that search and measure.
- :mod:`optical.cli.serve`: the command that answers others.
"""

from optical.cli import train, search, serve  # isort: skip - the order of the commands in the help
from optical.cli.app import app, console, main

__all__ = ["app", "console", "main", "search", "serve", "train"]
