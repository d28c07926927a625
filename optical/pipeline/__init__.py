"""The jobs of a run folder, one file a verb; each calls the other rooms in order and writes what came out.

- ``distill``: the whole chain, from bitext to a measured student; the transplant alone
- ``bitext``: sentence pairs examined before any of it, and a clean copy
- ``teach``: an English teacher from a judged collection
- ``embed``: the documents, once, by the teacher or the student
- ``index``: an index of these vectors
- ``answer``: passages for one question, from the run's own index, Qdrant or PostgreSQL
- ``searcher``: a run in Python: search, encode, align, report
- ``evaluate``: the student and its baselines on a collection; other runs beside it
- ``align``: the transport plan between two sentences, by word, before and after training
- ``alignment_error``: how well a run, or any encoder, aligns the words of sentence pairs
- ``html_report``: one page that shows a run, ``report.html``, or compares several
- ``perturb``: the student on perturbed queries
- ``probe``: a classifier of sentence pairs learnt in one language and asked in others; the same
  encoders asked to find passages
- ``export``: the student as ONNX graphs, or in ColBERT's format
- ``qdrant``, ``pgvector``: the documents in Qdrant, in PostgreSQL
- ``estimate``: what a run would take, from a probe of its teacher
- ``hub``: a run to a model hub and back
- ``mteb_run``: a run under MTEB
- ``doctor``: this machine and installation

They share ``preflight`` (what is refused before any work), ``inputs`` (bitext and collections of a recipe), ``sides``
(whose side a text is on), ``choose_compute`` (documents in float32 or bfloat16, by a probe), ``dev_score`` (what
chooses a checkpoint), ``bm25_rows`` (baselines on words), ``run_folder`` (what may be written), ``report_sections``
(what a run folder keeps), ``manifest``, ``card`` (the model card of the student), ``probe_inputs``, ``probe_systems``
and ``probe_retrieval`` (the pairs of a probe, who reads them, questions) and ``exported_documents`` (as servers of
vectors get them).
"""
