"""The campaign of faults, small: one run that is disturbed from within and without."""

from __future__ import annotations

from campaigns.verify_faults import Tally, fake_campaign


def test_a_disturbed_run_ends_as_an_undisturbed_one(tmp_path):
    tally = Tally()
    fake_campaign(tmp_path, 1, 60, 4, tally)
    assert not tally.wrong
    assert tally.faults.total() >= 12
    assert tally.starts > 4
