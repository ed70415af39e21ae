"""The soak campaign, small: memory of a worker does not grow with the samples it has made."""

from __future__ import annotations

from campaigns.verify_soak import soak


def test_a_workers_memory_does_not_grow(tmp_path):
    """Four heads left to the collector hold some 60 MB."""
    seconds, memory = soak(6, 2, str(tmp_path), size=64)
    assert len(seconds) == 6
    assert min(memory[-2:]) - max(memory[:2]) < 30
