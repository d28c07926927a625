"""Errors that a user can mend; everything else is a bug and shows its trace. And text that a terminal may be shown."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
LONGEST = 2_400  # characters of a message: one that quotes a megabyte is no message


def visible(text: str) -> str:
    r"""A text whose control characters are spelled out, ``\x1b`` for an escape: a terminal obeys none of them.

    Line feeds and tabs stay. Halves of surrogate pairs, which no output takes, are spelled out too.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class OpticalError(Exception):
    """An error whose message says what is wrong, what was received (``path:line`` for data) and how to fix it.

    Attributes:
        exit_code: The command line ends with it.
    """

    exit_code = 1

    def __str__(self) -> str:
        """The message; what it quotes of a file does nothing to a terminal and has an end."""
        text = visible(super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


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
