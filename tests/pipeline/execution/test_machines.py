"""Which machines of a cluster see the work folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.execution.machines import blind, check_work_seen
from pipeline.storage import layout_journal, lease
from pipeline.storage.process import this_process
from pipeline.storage.store import Store


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_machine_sees_the_work_folder_by_the_lease_of_its_driver(tmp_path: Path) -> None:
    import ray

    (node,) = (node["NodeID"] for node in ray.nodes() if node["Alive"])
    store = Store(str(tmp_path))
    with lease.held(store):
        check_work_seen(store)
        path, pid = store.path(layout_journal.LEASE), this_process()["pid"]
        assert blind(path, pid, [node]) == []
        # Another folder of the same name, or none.
        assert blind(path, pid + 1, [node]) == [node]
        assert blind(f"{path}.elsewhere", pid, [node]) == [node]
