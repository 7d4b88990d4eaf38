"""Threads, in order, and few ahead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from yololine.dataset.parallel import in_order


def test_results_are_in_the_order_of_the_items() -> None:
    def slow_first(n: int) -> int:
        time.sleep(0.02 if n % 5 == 0 else 0)
        return n * n

    with ThreadPoolExecutor(4) as pool:
        assert list(in_order(pool, slow_first, range(40), window=8)) == [n * n for n in range(40)]
        assert list(in_order(pool, slow_first, [], window=8)) == []


def test_no_more_than_the_window_is_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(100):
            taken += 1
            yield n

    with ThreadPoolExecutor(4) as pool:
        for done, _ in enumerate(in_order(pool, str, items(), window=6)):
            assert taken <= done + 6


def test_an_error_comes_in_its_turn_and_ends_the_work() -> None:
    started = []

    def work(n: int) -> int:
        started.append(n)
        if n == 3:
            raise ValueError("three")
        return n

    got = []
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="three"):
        got.extend(in_order(pool, work, range(1000), window=4))
    assert len(started) < 10
