"""A finished run on the web: one page and a few JSON addresses, for trying a student and for showing it.

Takes what answers a question and what is known of the run, gives an application. It writes nothing, and one question is
answered at a time. Knows no model, no index and no training.

- :mod:`optical.web.app`: the addresses, their limits, their errors.
- :mod:`optical.web.page`: the page, one file without anything from elsewhere, and what a browser may do with it.
- :mod:`optical.web.facts`: what is told of a run.
- :mod:`optical.web.server`: a port of this machine, until Ctrl-C.
"""
