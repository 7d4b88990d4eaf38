"""Which pictures look alike."""

from __future__ import annotations

import random

import pytest

from yololine.dataset.duplicates import near_duplicates


def hashes(count: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.getrandbits(64) for _ in range(count)]


def clusters(values: list[int]) -> tuple[list[list[int]], int]:
    return near_duplicates([f"{value:016x}" for value in values])


@pytest.mark.parametrize(
    ("difference", "alike"),
    [
        (0, True),
        (1 << 63, True),
        (1 << 63 | 1, True),
        (1 << 21 | 1 << 22, True),
        (1 << 63 | 1 << 30 | 1, False),
        (0b111, False),
    ],
)
def test_up_to_two_bits_may_differ(difference: int, alike: bool) -> None:
    values = hashes(100)
    values[70] = values[20] ^ difference
    assert clusters(values) == ([[20, 70]] if alike else [], 0)


def test_links_make_clusters() -> None:
    values = hashes(500)
    values[40], values[9] = values[300] ^ 0b11, values[300] ^ 0b1100
    values[77] = values[78]
    assert clusters(values) == ([[9, 40, 300], [77, 78]], 0)


def test_a_fixed_camera_is_no_burst() -> None:
    """Too many look alike for the hash to tell anything; true bursts beside them still count."""
    rng = random.Random(1)
    fixed = rng.getrandbits(64)
    values = hashes(900) + [fixed ^ 1 << rng.randrange(64) for _ in range(100)]
    values[5] = values[6]
    assert clusters(values) == ([[5, 6]], 100)


def test_all_alike() -> None:
    assert clusters([7] * 50) == ([], 50)
    assert clusters([7, 7]) == ([[0, 1]], 0)
    assert clusters([]) == ([], 0)


def test_against_every_pair() -> None:
    rng = random.Random(2)
    values = hashes(3000, seed=3)
    for i in range(0, 300, 3):
        values[i + 1500] = values[i] ^ 1 << rng.randrange(64) ^ 1 << rng.randrange(64)
    expected = sorted(
        [i, j]
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (values[i] ^ values[j]).bit_count() <= 2
    )
    assert clusters(values) == (expected, 0)
    assert len(expected) == 100
