"""The jobs of a run folder, one file a verb.

Each takes a recipe, calls the other rooms in order and writes what came out.
"""
