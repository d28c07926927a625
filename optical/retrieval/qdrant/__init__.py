"""Documents in Qdrant, for collections that one machine cannot hold: written once, with the same answers.

A document has one vector, or all its tokens (MaxSim, computed by Qdrant) and their mean, which finds the candidates.
Sharding, replication and the protocol are Qdrant's; a folder instead of an address is the small engine of its client.

- :mod:`optical.retrieval.qdrant.place`: a server or a folder, and one message for what goes wrong there.
- :mod:`optical.retrieval.qdrant.write`: the vectors and texts of a collection, written to it.
- :mod:`optical.retrieval.qdrant.search`: one question, as vectors.

Which vectors a run writes, and who asks, is in :mod:`optical.pipeline.qdrant`.
"""
