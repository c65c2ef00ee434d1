import math

import pytest

from gdviz.app import text
from gdviz.claims import Claim

CLAIM = Claim("X", "A <sentence>.", "[M]", "a number", "≤", 0.5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (16.0, "16"),
        (-0.5, "−0.5"),
        (1234.5678, "1235"),
        (1e4, "10⁴"),
        (-1e-9, "−10⁻⁹"),
        (354_000.0, "3.54·10⁵"),
        (1e-12, "10⁻¹²"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "—"),
        (None, "—"),
    ],
)
def test_a_number_reads_as_in_a_sentence(value, words):
    assert text.number(value) == words


def test_a_claim_shows_theory_beside_measurement():
    shown = text.claim(CLAIM.judge(2, [1, 2, 9]))
    for part in ("✗", "fails", "A &lt;sentence&gt;.", "[M]", "theory ≤ 2 + 0.5", "measured 2",
                 "from 1 to 9"):  # fmt: skip
        assert part in shown


def test_a_silent_claim_shows_no_number_and_no_green():
    shown = text.claim(CLAIM.silent())
    assert "says nothing here" in shown
    assert "theory" not in shown
    assert "gd-holds" not in shown


def test_a_table_is_thinned_and_keeps_its_ends():
    shown = text.table({"step": range(1001), "two": [[i, -i] for i in range(1001)], "one": [3.0]})
    assert shown.count("<tr>") == 1 + text.ROWS
    assert "<td>0</td><td>0</td><td>0</td>" in shown
    assert "<td>1000</td><td>1000</td><td>−1000</td>" in shown
    assert '<th scope="col">two 2</th>' in shown
    assert "one" not in shown
