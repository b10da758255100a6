from __future__ import annotations

import pytest

from fxfarm import trial

STEADY = [0.010] * 20
NOISY = [0.008, 0.010, 0.012, 0.014] * 5


@pytest.mark.parametrize(
    ("before", "after", "slower"),
    [
        (STEADY, STEADY, False),
        (STEADY, [0.009] * 20, False),
        (STEADY, [0.0104] * 20, False),  # within the margin
        (STEADY, [0.0106] * 20, True),
        (STEADY, [0.010] * 15 + [0.5] * 5, False),  # some calls met something else
        (NOISY, [s + 0.002 for s in NOISY], False),  # within the noise
        (NOISY, [s + 0.006 for s in NOISY], True),
        ([0.0] * 20, [0.0] * 20, False),
    ],
)
def test_a_stage_is_slower_beyond_noise_and_margin(
    before: list[float], after: list[float], slower: bool
) -> None:
    verdict = trial.compare(before, after)
    assert verdict is not None
    assert verdict.slower is slower


@pytest.mark.parametrize(("before", "after"), [(7, 20), (20, 7), (0, 0)])
def test_nothing_is_said_of_too_few_calls(before: int, after: int) -> None:
    assert trial.compare([0.01] * before, [1.0] * after) is None


def test_a_verdict_names_medians_noise_and_calls() -> None:
    verdict = trial.compare(NOISY, [s * 2 for s in NOISY])
    assert str(verdict) == "24 ms a call, 12 ms before (noise 6 ms; medians of 20 and 20 calls)"
