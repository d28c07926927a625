"""Threads: what was told, else what mask, quota and other processes leave; on a machine of files."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from optical.config import threads
from optical.config.threads import choose_threads, quota, use_threads, watch
from optical.errors import RecipeError

CPU = "cpu{number} {user} {nice} {system} {idle} {iowait} 0 0 {steal} 0 0\n"


def stat(*work: int) -> str:
    """A ``/proc/stat`` in which each processor has worked so many ticks, in four ways."""
    lines = [
        CPU.format(number=k, user=n, nice=0, system=0, idle=10_000 - n, iowait=50, steal=0) for k, n in enumerate(work)
    ]
    return f"cpu  1 2 3 4\n{''.join(lines)}intr 5\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Write a machine: processors, those of one core together, the mask, files; and let its clock pass."""
    for name in (threads.VARIABLE, *threads.LIBRARIES, "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(threads, "_own", {})
    monkeypatch.setattr(threads, "_before", [])
    monkeypatch.setattr(threads, "TICKS", 100)
    monkeypatch.setattr(os, "times", lambda: SimpleNamespace(user=0, system=0, children_user=0, children_system=0))

    def write(siblings=("0", "1", "2", "3"), mask=None, files=(), work=((0,) * 8, (0,) * 8)):
        for number, text in enumerate(siblings):
            place = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{text}\n")
        for name, text in dict(files).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        allowed = set(range(len(siblings)) if mask is None else mask)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)
        (tmp_path / "proc").mkdir(exist_ok=True)
        clock = [0.0]

        def sleep(seconds: float) -> None:
            clock[0] += max(seconds, 0.5)
            (tmp_path / "proc/stat").write_text(stat(*work[1][: len(siblings)]))

        (tmp_path / "proc/stat").write_text(stat(*work[0][: len(siblings)]))
        monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
        return tmp_path

    yield write
    use_threads(1)  # before the variables are as they were


def test_a_quiet_machine_gives_all_cores_and_nothing_is_said(machine):
    chosen = choose_threads(root=machine())
    assert (chosen.number, chosen.sentence) == (4, "")


def test_two_processors_of_one_core_are_one(machine):
    assert choose_threads(root=machine(siblings=("0-1", "0-1", "2-3", "2-3"))).number == 2


def test_the_mask(machine):
    chosen = choose_threads(root=machine(mask=[0, 3]))
    assert chosen.number == 2
    assert chosen.sentence == "threads: 2 of 4 cores; this process may run on 2 (affinity)"


@pytest.mark.parametrize(
    ("work", "count"),
    [
        ((50, 0, 0, 0), 3),
        ((50, 50, 50, 50), 1),  # never none
        ((20, 0, 0, 0), 4),  # less than half a core
        ((50, 26, 0, 0), 2),
    ],
)
def test_cores_that_others_use_are_left_to_them(machine, work, count):
    chosen = choose_threads(root=machine(work=((0, 0, 0, 0), work)))
    assert chosen.number == count
    assert ("other processes use" in chosen.sentence) == (count < 4)


def test_work_outside_the_mask_does_not_count(machine):
    assert choose_threads(root=machine(mask=[0, 1], work=((0, 0, 0, 0), (0, 0, 50, 50)))).number == 2


def test_work_of_this_process_does_not_count(machine, monkeypatch):
    root = machine(work=((0, 0, 0, 0), (50, 0, 0, 0)))
    seconds = iter([0.0, 0.5])
    monkeypatch.setattr(
        os, "times", lambda: SimpleNamespace(user=next(seconds), system=0, children_user=0, children_system=0)
    )
    assert choose_threads(root=root).number == 4


def test_what_was_noted_at_the_start_is_compared_with(machine):
    root = machine(work=((0, 0, 0, 0), (100, 0, 0, 0)))
    watch(root)
    threads.time.sleep(1.0)  # the program begins
    threads.time.sleep = lambda _: None
    assert choose_threads(root=root).number == 3


def test_a_system_without_proc_counts_no_core_as_busy(machine):
    root = machine()
    (root / "proc/stat").unlink()
    assert choose_threads(root=root).number == 4


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense\n"}, None),
        ({}, None),
        ({"jobs/mine/cpu.max": "300000 100000\n", "jobs/cpu.max": "250000 100000\n", "other/cpu.max": "1 1\n"}, 2.5),
        ({"cpu/jobs/mine/cpu.cfs_quota_us": "50000\n", "cpu/jobs/mine/cpu.cfs_period_us": "100000\n"}, 0.5),
    ],
)
@pytest.mark.parametrize("own", ["0::/jobs/mine\n", "5:memory:/other\n2:cpu,cpuacct:/jobs/mine\n"])
def test_the_quota_of_either_version_of_cgroups_and_of_those_above(machine, files, cores, own):
    root = machine(files={f"sys/fs/cgroup/{name}": text for name, text in files.items()} | {"proc/self/cgroup": own})
    assert quota(root) == cores


@pytest.mark.parametrize(("limit", "count"), [("250000", 2), ("50000", 1), ("900000", 4)])
def test_a_quota_gives_whole_cores(machine, limit, count):
    chosen = choose_threads(root=machine(files={"sys/fs/cgroup/cpu.max": f"{limit} 100000"}))
    assert chosen.number == count
    assert ("the quota of the container" in chosen.sentence) == (count < 4)


def test_recipe_before_variables_before_what_was_begun_before_the_machine(machine, monkeypatch):
    root = machine(work=((0, 0, 0, 0), (50, 0, 0, 0)))
    assert choose_threads(before=2, root=root).number == 2
    assert "as when this began" in choose_threads(before=2, root=root).sentence
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    assert choose_threads(before=2, root=root).number == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "6,2")
    assert choose_threads(before=2, root=root).sentence == "threads: 6 of 4 cores; OMP_NUM_THREADS says so"
    monkeypatch.setenv("OPTICAL_THREADS", "7")
    assert (choose_threads(before=2, root=root).number, choose_threads(root=root).sentence) == (7, "")
    assert (choose_threads(8, 2, root).number, choose_threads(8, 2, root).sentence) == (8, "")


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "99999", "²"])
def test_a_variable_of_ours_that_is_no_number_is_refused(machine, monkeypatch, text):
    monkeypatch.setenv("OPTICAL_THREADS", text)
    with pytest.raises(RecipeError, match=r"OPTICAL_THREADS is '.+'; set it to a whole number from 1 on"):
        choose_threads(root=machine())


def test_all_libraries_are_told_and_what_they_were_told_is_not_taken_for_the_users_own(machine):
    root = machine()
    use_threads(3)
    assert {os.environ[name] for name in threads.LIBRARIES} == {"3"}
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    assert choose_threads(root=root).number == 4
    assert sys.modules["torch"].get_num_threads() == 3


def test_libraries_that_are_loaded_change_at_once(machine):
    import faiss
    from threadpoolctl import threadpool_info

    machine()
    use_threads(2)
    assert faiss.omp_get_max_threads() == 2
    assert {pool["num_threads"] for pool in threadpool_info()} == {2}
