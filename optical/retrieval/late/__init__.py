"""One vector a token, compared by MaxSim.

- :mod:`optical.retrieval.late.maxsim`: exact MaxSim of all documents, in memory.
- :mod:`optical.retrieval.late.index`: an index for large collections: inverted lists of tokens find candidates, exact
  MaxSim ranks them.
- :mod:`optical.retrieval.late.cascade`, :mod:`optical.retrieval.late.kernels`,
  :mod:`optical.retrieval.late.instructions`: the same in stages, their compiled loops, and what these are made of.
- :mod:`optical.retrieval.late.inverted_lists`, :mod:`optical.retrieval.late.store`: its lists, and its files.
- :mod:`optical.retrieval.late.products`, :mod:`optical.retrieval.late.int4`, :mod:`optical.retrieval.late.pooling`:
  products of int8 vectors, tokens in four bits, fewer tokens a document.
"""
