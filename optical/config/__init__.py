"""What a run is told: every option with its default, its unit and its checks; read from TOML and the command line.

- :mod:`optical.config.recipe`: the options of a student's run.
- :mod:`optical.config.teaching`: those of teaching an English encoder.
- :mod:`optical.config.options`: reading and writing any set of options.
"""
