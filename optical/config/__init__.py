"""Options of a run, each with its default, its unit and its checks; read from TOML and the command line.

- :mod:`optical.config.recipe`: the options of a student's run, in sections: :mod:`optical.config.vocabulary`,
  :mod:`optical.config.objective`, :mod:`optical.config.training`, :mod:`optical.config.search`.
- :mod:`optical.config.teaching`: those of teaching an English encoder.
- :mod:`optical.config.probe`: those of a probe, a classifier of sentence pairs asked in several languages.
- :mod:`optical.config.section`: what all sections share.
- :mod:`optical.config.kinds`: paths, devices, trackers, addresses.
- :mod:`optical.config.threads`: how many threads: told, or as many as there are free cores.
- :mod:`optical.config.arguments`: arguments of functions called from Python, refused by their name.
- :mod:`optical.config.toml`: reads and writes options, and describes them.
"""
