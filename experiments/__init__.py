"""Experiments: one folder a question, with the recipe that asks it and the figures that answered it.

``python -m experiments NAME DATA`` runs the grid of ``experiments/NAME/recipe.toml`` and writes the tables beside it.
"""
