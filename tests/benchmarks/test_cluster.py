from __future__ import annotations

from benchmarks.keyfold_bench.cluster import slowest_tasks

OUTPUT = """\
TASK [node : Install the package] *********
changed: [hsm1]

TASKS RECAP ****************************************************
Tuesday 24 November 2026  00:24:38 +0000 (0:00:00.346)       0:01:00.315 ******
===============================================================================
etcd : Install packages ------------------------------------------------- 6.26s
client : Make the directories that Debian's packages leave to the administrator --- 0.38s
"""


def test_the_slowest_tasks_are_read_from_the_recap_alone() -> None:
    assert slowest_tasks(OUTPUT) == {
        "etcd : Install packages": 6.26,
        "client : Make the directories that Debian's packages leave to the administrator": 0.38,
    }
