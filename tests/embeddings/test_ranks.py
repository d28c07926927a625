"""Two processes make one collection between them, as ``accelerate launch`` and ``torchrun`` start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optical.embeddings.embed import EmbedOptions, embed_collection
from optical.embeddings.ranks import ranks_of_environment
from optical.embeddings.shards import read_shards
from optical.errors import RecipeError
from optical.models.encoders import encode_sentences

ROOT = Path(__file__).parents[2]
COUNT = 11

# Each process notes what it encoded; the vector of text "k" is (k, 1).
BY_NUMBER = f"""
import sys
from pathlib import Path
import numpy as np
from optical.embeddings.ranks import ranks_of_environment
from optical.embeddings.shard import Batch
from optical.embeddings.write_shards import ShardPlan, make_shards
folder = Path(sys.argv[1])
ranks = ranks_of_environment()
def encode(texts):
    with (folder.parent / f"encoded-{{ranks[0]}}").open("a") as file:
        file.write("".join(f"{{text}}\\n" for text in texts))
    yield Batch(range(len(texts)), np.array([[float(text), 1.0] for text in texts], dtype=np.float32))
documents = ((f"d{{k}}", str(k)) for k in range({COUNT}))
plan = ShardPlan("f1", "sentences", "float32", 2)
shards = make_shards(documents, folder, encode, plan, ranks=ranks._replace(wait=60.0))
print(ranks[0], len(shards.ids))
"""

BY_MODEL = f"""
import sys
from sentence_transformers import SentenceTransformer
from optical.embeddings.embed import EmbedOptions, embed_collection
from optical.embeddings.ranks import ranks_of_environment
encoder = SentenceTransformer(sys.argv[1], device="cpu")
documents = [(f"d{{k}}", "she cooks rice . " * (k % 4 + 1)) for k in range({COUNT})]
ranks = ranks_of_environment()._replace(wait=120.0)
shards = embed_collection(encoder, lambda: iter(documents), sys.argv[2], EmbedOptions(shard_size=3), ranks=ranks)
print("read", len(shards.ids))
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "RANK" not in name and "WORLD_SIZE" not in name}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def start(folder: Path, rank: int, world: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", BY_NUMBER, str(folder)],
        env=environment(RANK=str(rank), WORLD_SIZE=str(world)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def encoded(folder: Path, rank: int) -> list[int]:
    path = folder / f"encoded-{rank}"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_two_processes_share_the_shards_and_both_read_all_of_them(tmp_path):
    processes = [start(tmp_path / "v", rank, 2) for rank in range(2)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in answers] == [f"0 {COUNT}", f"1 {COUNT}"], answers
    assert encoded(tmp_path, 0) == [0, 1, 4, 5, 8, 9]
    assert encoded(tmp_path, 1) == [2, 3, 6, 7, 10]
    shards = read_shards(tmp_path / "v", verify=True)
    assert list(shards.ids) == [f"d{k}" for k in range(COUNT)]
    np.testing.assert_array_equal(np.asarray(shards.vectors())[:, 0], np.arange(COUNT))


def test_a_rank_that_was_killed_is_made_up_for_by_starting_again(tmp_path):
    alone = start(tmp_path / "v", 0, 2)
    while not (tmp_path / "v" / "shard-00004").exists():  # its last shard; it waits for the other rank now
        assert alone.poll() is None
        try:
            alone.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    alone.kill()
    alone.communicate()
    assert not (tmp_path / "v" / "optical.json").exists()
    answers = [process.communicate(timeout=60) for process in [start(tmp_path / "v", rank, 2) for rank in range(2)]]
    assert [out.strip() for out, _ in answers] == [f"0 {COUNT}", f"1 {COUNT}"], answers
    assert encoded(tmp_path, 0) == [0, 1, 4, 5, 8, 9], "not twice"


@pytest.mark.slow
def test_under_accelerate_launch(teacher, tmp_path):
    teacher.save(str(tmp_path / "model"))
    (tmp_path / "script.py").write_text(BY_MODEL)
    # --multi_gpu is what starts several processes; with --cpu accelerate starts one, unless there is MPI.
    options = [
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ]
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tmp_path / "model"), str(tmp_path / "v")],
        env=environment(HF_HUB_OFFLINE="1"), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.count(f"read {COUNT}") == 2, done.stderr
    documents = [(f"d{k}", "she cooks rice . " * (k % 4 + 1)) for k in range(COUNT)]
    np.testing.assert_allclose(
        np.asarray(read_shards(tmp_path / "v").vectors()),
        encode_sentences(teacher, [t for _, t in documents]),
        atol=1e-6,
    )
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "v").rglob("*")}
    embed_collection(teacher, documents, tmp_path / "v", EmbedOptions(shard_size=3))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "v").rglob("*")} == before


def test_the_rank_is_of_the_environment(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks_of_environment()[:2] == (0, 1)
    with monkeypatch.context() as mpi:
        mpi.setenv("OMPI_COMM_WORLD_RANK", "1")
        mpi.setenv("OMPI_COMM_WORLD_SIZE", "4")
        assert ranks_of_environment()[:2] == (1, 4)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(RecipeError, match="0 <= RANK < WORLD_SIZE; got RANK=2 and WORLD_SIZE=1; start"):
        ranks_of_environment()
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert ranks_of_environment()[:2] == (2, 3)
