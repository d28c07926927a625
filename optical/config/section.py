"""The base of all sections of options: they are frozen, and unknown names are refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, field_validator

LARGEST = 2**32 - 1  # whole number: what every random generator takes as a seed, and more than any count has to be


class Section(BaseModel):
    """Options that cannot be changed once they are read; unknown names and infinite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _small_enough(cls, value: Any) -> Any:
        if isinstance(value, int) and value > LARGEST:
            raise ValueError(f"larger than {LARGEST:,}")
        return value


class OfRun(Section, ABC):
    """The options of a job that has a folder."""

    _made_in: Path | None = PrivateAttr(None)

    @property
    @abstractmethod
    def home(self) -> Path:
        """The folder of the run, as it was named."""

    @property
    def folder(self) -> Path:
        """Where files of the run are read and written: its folder, or while a job makes them, where it does so."""
        return self._made_in or self.home

    def made_in(self, folder: Path | None) -> Self:
        """The same options of a job that makes the run's files in another folder."""
        copy = self.model_copy()
        copy._made_in = folder
        return copy
