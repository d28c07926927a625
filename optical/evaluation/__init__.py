"""Measure how well runs answer queries: measures by query, paired tests, tables.

- :mod:`optical.evaluation.measures`: AP, nDCG, recall and others, by ir-measures.
- :mod:`optical.evaluation.significance`: paired randomisation test, t-test, Holm's correction.
- :mod:`optical.evaluation.strata`: means over strata of queries, their standard error and paired test.
- :mod:`optical.evaluation.report`: the systems of a run beside their ceiling.
- :mod:`optical.evaluation.compare_runs`: TREC runs of any systems beside each other.
- :mod:`optical.evaluation.perturbations`: typos, lost diacritics, other case, code-switching, lost words,
  word order.
- :mod:`optical.evaluation.perturbed_results`: what systems lose on perturbed queries.
- :mod:`optical.evaluation.alignment_error`: links between words against sure and possible ones.
- :mod:`optical.evaluation.divisions`, :mod:`optical.evaluation.frozen_classifier`: pairs divided by item, and the
  classifier of frozen vectors of a probe; :mod:`optical.evaluation.probe_results`, what systems score in it.
- :mod:`optical.evaluation.tables`: the one writer of tables, for Markdown and for the terminal.

Each module of results has a function ``table`` from its result to a :class:`optical.evaluation.tables.Table`.
"""
