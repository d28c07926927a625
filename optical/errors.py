"""The two errors that a user can mend; everything else is a bug and shows its trace."""


class OpticalError(Exception):
    """What is wrong, what was received (``path:line`` for data), how to fix it."""


class DataError(OpticalError):
    """A file, a collection, an index or a model cannot be used as it is."""


class RecipeError(OpticalError):
    """An option is unknown, of the wrong type, or contradicts another."""
