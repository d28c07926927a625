"""A search page and a JSON API for a finished run, to try a student and to show it.

The application is given a function that answers questions and the facts of the run. It writes nothing and answers one
question at a time.

- :mod:`optical.web.endpoints`: the HTTP endpoints, their limits and errors.
- :mod:`optical.web.schemas`: requests and answers, as ``/openapi.json`` describes them.
- :mod:`optical.web.bounded_queue`: model calls off the event loop, of which so many may wait.
- :mod:`optical.web.connections`: so many connections, and so long for a request to arrive and an answer to be taken.
- :mod:`optical.web.metrics`: counts and times for Prometheus.
- :mod:`optical.web.page`: the search page, one HTML file that loads nothing else, and the security
  headers of all answers.
- :mod:`optical.web.facts`: what the page and the API say about a run.
- :mod:`optical.web.server`: listening on a port until SIGTERM or Ctrl-C.
"""
