"""Benchmarks of the package and its rivals: side by side, in one process, on one machine, in one run.

Each benchmark is a module with ``run(options) -> str``, a section of markdown; ``python -m benchmarks`` runs them all.
No test times anything; these do.
"""
