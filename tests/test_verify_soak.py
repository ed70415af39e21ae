"""The soak campaign, small: memory of a worker does not grow with the samples it has made."""

from __future__ import annotations

from campaigns.verify_soak import soak


def test_a_workers_memory_does_not_grow(tmp_path):
    """Five heads left to Python's collector hold some 45 MB."""
    seconds, memory = soak(8, 1, str(tmp_path))
    assert len(seconds) == 8
    assert memory[-2] - memory[1] < 25
