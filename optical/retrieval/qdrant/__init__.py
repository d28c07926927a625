"""A run's documents in Qdrant, for collections that one machine cannot hold: exported once, with the same answers.

Takes a recipe and a place, writes the vectors that the run itself searches (English documents by the teacher, documents
in X by the student), and asks them by its student. One vector a document, or all its tokens (MaxSim, computed by
Qdrant) with their mean, which finds the candidates. Sharding, replication and the protocol are Qdrant's; a folder
instead of an address is its client's own small engine.

- :mod:`optical.retrieval.qdrant.place`: a server or a folder, and what goes wrong there.
- :mod:`optical.retrieval.qdrant.write`: the export.
- :mod:`optical.retrieval.qdrant.search`: questions.
"""

from optical.retrieval.qdrant.place import Place, connect, place_of
from optical.retrieval.qdrant.search import Opened, answer, check, opened, search
from optical.retrieval.qdrant.write import Exported, export_run, point_id, pooled

__all__ = [
    "Exported", "Opened", "Place", "answer", "check", "connect", "export_run", "opened", "place_of", "point_id",
    "pooled", "search",
]  # fmt: skip
