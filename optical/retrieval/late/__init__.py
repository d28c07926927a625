"""One vector a token, compared by MaxSim.

- :mod:`optical.retrieval.late.maxsim`: exact, with every document.
- :mod:`optical.retrieval.late.index`: lists of tokens that propose documents, exact MaxSim that ranks them.
- :mod:`optical.retrieval.late.inverted_lists`, :mod:`optical.retrieval.late.store`: the two halves of that index.
- :mod:`optical.retrieval.late.products`, :mod:`optical.retrieval.late.int4`, :mod:`optical.retrieval.late.pooling`:
  integer products, four-bit tokens, fewer tokens a document.
"""
