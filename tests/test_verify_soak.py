"""The soak campaign, small: memory of a worker does not grow with the samples it has made."""

from __future__ import annotations

from campaigns.verify_soak import soak


def test_a_workers_memory_does_not_grow(tmp_path):
    """Eight heads left to Python's collector hold some 120 MB; hair makes the least differ."""
    seconds, memory = soak(10, 2, str(tmp_path), size=64)
    assert len(seconds) == 10
    assert min(memory[-2:]) - max(memory[:2]) < 50
