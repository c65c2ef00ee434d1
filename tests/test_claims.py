import numpy as np
import pytest

from gdviz.claims import Claim, Verdict


def claim(relation, tolerance=0.0):
    return Claim("X1", "a sentence", "[M]", "a number", relation, tolerance)


@pytest.mark.parametrize(
    ("relation", "tolerance", "predicted", "measured", "verdict"),
    [
        ("=", 0, 16, 16, Verdict.HOLDS),
        ("=", 0, 16, 17, Verdict.FAILS),
        ("=", 0.1, 1, 1.05, Verdict.HOLDS),
        ("=", 0.1, 1, 0.85, Verdict.FAILS),
        ("≤", 0, 5, 5, Verdict.HOLDS),
        ("≤", 0, 5, 5.1, Verdict.FAILS),
        ("≤", 0.2, 5, 5.1, Verdict.HOLDS),
        ("≥", 0, 5, 4.9, Verdict.FAILS),
        ("≥", 0.2, 5, 4.9, Verdict.HOLDS),
        ("≤", 0, 5, np.nan, Verdict.FAILS),
        ("=", 1, 5, np.inf, Verdict.FAILS),
    ],
)
def test_verdict(relation, tolerance, predicted, measured, verdict):
    assert claim(relation, tolerance).judge(predicted, measured).verdict is verdict


def test_every_seed_must_agree_and_the_median_is_shown():
    finding = claim("≤").judge(10, [1, 2, 11])
    assert finding.verdict is Verdict.FAILS
    assert (finding.measured, finding.spread) == (2, (1, 11))
    assert claim("≤").judge([10, 10, 12], [1, 2, 11]).verdict is Verdict.HOLDS


def test_outside_its_assumptions_a_claim_is_silent_and_shows_no_number():
    for finding in (claim("=").judge(1, 1, applies=False), claim("=").judge(1, [])):
        assert finding.verdict is Verdict.SILENT
        assert finding.predicted is finding.measured is finding.spread is None


def test_one_seed_has_no_spread():
    assert claim("=").judge(1, [1]).spread is None
