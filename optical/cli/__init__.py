"""The command line: parses, calls, prints.

- :mod:`optical.cli.app`: the program, the options that verbs share, how errors are shown.
- :mod:`optical.cli.help`: the order of the verbs, and the options of a recipe in their help.
- :mod:`optical.cli.output`: tables for people, JSON for programs.
- :mod:`optical.cli.train`: data, transplant, distill, teach.
- :mod:`optical.cli.bitext`: bitext.
- :mod:`optical.cli.search`: evaluate, search, embed, index.
- :mod:`optical.cli.cache`: cache list, cache prune.
- :mod:`optical.cli.serve`: serve, export.
- :mod:`optical.cli.show`: align, report, verify, rerun.
- :mod:`optical.cli.probe`: probe.
- :mod:`optical.cli.share`: push, pull, mteb.
- :mod:`optical.cli.doctor`: doctor.
"""

from optical.cli import bitext, cache, doctor, probe, search, serve, share, show, train
from optical.cli.app import app, console, main

__all__ = ["app", "bitext", "cache", "console", "doctor", "main", "probe", "search", "serve", "share", "show", "train"]
