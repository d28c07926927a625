"""Errors that a user can mend; everything else is a bug and shows its trace."""


class OpticalError(Exception):
    """An error whose message says what is wrong, what was received (``path:line`` for data) and how to fix it."""


class DataError(OpticalError):
    """A file, a collection, an index or a model cannot be used as it is."""


class RecipeError(OpticalError):
    """An option is unknown, of the wrong type, or contradicts another."""


class Unavailable(DataError):
    """Another program that an answer needs does not give it: a server of documents, say.

    Attributes:
        answered: It was reached and answered with an error; otherwise nothing came back.
    """

    def __init__(self, message: str, *, answered: bool) -> None:
        """With what to do in the message."""
        super().__init__(message)
        self.answered = answered
