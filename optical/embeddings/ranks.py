"""Ranks: processes of one launch, on one machine or several, that share the work of embedding."""

from __future__ import annotations

import os
from typing import NamedTuple

from optical.errors import RecipeError

_RANK_AND_WORLD = (
    ("RANK", "WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)  # fmt: skip


class Ranks(NamedTuple):
    """This process among those that share the work.

    Attributes:
        rank: Its number; it encodes the shards k with k % world == rank.
        world: How many there are.
        wait: Seconds without a new shard after which it gives up on the others.
    """

    rank: int = 0
    world: int = 1
    wait: float = 21_600.0


ALONE = Ranks()


def ranks_of_environment() -> Ranks:
    """This process and their number, from the variables that ``accelerate launch``, ``torchrun`` or ``mpirun`` set.

    Raises:
        RecipeError: They are not numbers with 0 <= RANK < WORLD_SIZE.
    """
    named = [(os.environ[r], os.environ.get(w, "1")) for r, w in _RANK_AND_WORLD if r in os.environ]
    rank, world = named[0] if named else ("0", os.environ.get("WORLD_SIZE", "1"))
    if not (rank.isdigit() and world.isdigit() and int(rank) < int(world)):
        raise RecipeError(
            f"the environment must have 0 <= RANK < WORLD_SIZE; got RANK={rank} and WORLD_SIZE={world}; start with "
            "accelerate launch or torchrun, or unset both"
        )
    return Ranks(int(rank), int(world))
