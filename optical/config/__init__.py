"""Options of a run, each with its default, its unit and its checks; read from TOML and the command line.

- :mod:`optical.config.recipe`: the options of a student's run, in sections.
- :mod:`optical.config.teaching`: those of teaching an English encoder.
- :mod:`optical.config.options`: reads and writes either, and describes their options.
"""
