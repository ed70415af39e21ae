"""A run on a Ray cluster of two nodes, with the fake worker; one node is killed half-way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakerun import settings_for, work_for
from test_run import data_files, make, nothing_is_left

from pipeline import cluster
from pipeline.cluster import RayEngine
from pipeline.errors import EyeglassError
from pipeline.run import Totals, generate

ray = pytest.importorskip("ray")
COUNT = 40


@pytest.fixture(scope="module")
def nodes(tmp_path_factory) -> Iterator:
    """Two raylets of a core each, beside the head that runs nothing."""
    from ray.cluster_utils import Cluster

    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent), str(here)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_enable_metrics_collection", "0")
        small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        workers = [
            found.add_node(num_cpus=1, object_store_memory=80 * 2**20, wait=False)
            for _ in range(2)
        ]
        found.wait_for_nodes()
        yield found, workers
        found.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("local") / "set"
    make(root, COUNT, pairs=2)
    return data_files(root)


def test_a_cluster_that_loses_a_node_makes_what_one_machine_makes(
    nodes, local, tmp_path, monkeypatch
):
    found, workers = nodes
    faults = tmp_path / "faults"
    faults.mkdir()
    done: list[int] = []

    def report(outcome, totals) -> None:
        done.append(outcome.job["index"])
        if len(done) == COUNT // 2:
            found.remove_node(workers[1], allow_graceful=False)

    root = tmp_path / "set"
    engine = RayEngine(found.address, COUNT)
    totals = generate(settings_for(root, pairs=2), work_for(COUNT), COUNT, report, engine)
    assert totals == Totals(COUNT, 0)
    assert sorted(done) == list(range(COUNT))
    assert data_files(root) == local
    assert nothing_is_left(root)
    assert not (root / "log/cluster-mark").exists()


def test_nodes_that_do_not_share_the_folder_send_their_samples(nodes, local, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_marked", lambda out: "nobody can read this")
    root = tmp_path / "set"
    engine = RayEngine(nodes[0].address, COUNT)
    settings = settings_for(root, pairs=2)
    assert generate(settings, work_for(COUNT), 2, lambda *_: None, engine) == Totals(COUNT, 0)
    assert data_files(root) == local


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", r"no Ray cluster at 127\.0\.0\.1:1: Connection refused"),
        ("cluster", "HOST:PORT of a Ray cluster is expected, got 'cluster'"),
    ],
)
def test_a_cluster_that_is_not_there_is_an_error(tmp_path, address, said):
    with pytest.raises(EyeglassError, match=said):
        generate(
            settings_for(tmp_path), work_for(2), 2, lambda *_: None, RayEngine(address, 2)
        )
