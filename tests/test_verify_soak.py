"""The soak campaign, small: memory of a worker does not grow with the samples it has made."""

from __future__ import annotations

from campaigns.verify_soak import soak


def test_a_workers_memory_does_not_grow(tmp_path):
    """Eight heads left to Python's collector hold some 70 MB."""
    seconds, memory = soak(12, 2, str(tmp_path))
    assert len(seconds) == 12
    assert memory[-1] - memory[3] < 40
