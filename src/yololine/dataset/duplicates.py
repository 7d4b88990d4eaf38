"""Pictures that look alike: frames of one burst, the same picture compressed anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 2
"""Bits of 64 in which the dHashes of near-duplicates may differ."""
MAX_SHARE = 0.01
"""Of all pictures in one cluster. A larger one is no burst but a fixed camera before like parts,
which the hash cannot tell apart."""

_BITS_OF_16 = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)


def near_duplicates(perceptual_hashes: Sequence[str]) -> tuple[list[list[int]], int]:
    """Clusters of pictures that look alike, linked pair by pair.

    Args:
        perceptual_hashes: 16 hex digits each.

    Returns:
        Clusters of two or more positions, in order; and the number of pictures in clusters that
        were left out because they hold more than `MAX_SHARE` of all (and more than two).
    """
    positions: dict[int, list[int]] = defaultdict(list)
    for position, digits in enumerate(perceptual_hashes):
        positions[int(digits, 16)].append(position)
    limit = max(2, int(MAX_SHARE * len(perceptual_hashes)))
    clusters = _Clusters({value: len(where) for value, where in positions.items()}, limit)
    for bucket in _sharing_a_block(list(positions)):
        clusters.link(bucket)
    members: dict[int, list[int]] = defaultdict(list)
    for value, where in positions.items():
        members[clusters.root(value)] += where
    found = sorted(sorted(cluster) for cluster in members.values() if len(cluster) > 1)
    kept = [cluster for cluster in found if len(cluster) <= limit]
    return kept, sum(map(len, found)) - sum(map(len, kept))


def _sharing_a_block(values: Sequence[int]) -> Iterator[list[int]]:
    """Different hashes that agree in a block of bits.

    Cut into one block more than bits may differ, near-duplicates agree in at least one block, so
    that not every hash is compared with every other.
    """
    blocks = MAX_DISTANCE + 1
    width = -(-64 // blocks)
    for block in range(blocks):
        alike: dict[int, list[int]] = defaultdict(list)
        for value in values:
            alike[value >> (block * width) & ((1 << width) - 1)].append(value)
        yield from (bucket for bucket in alike.values() if len(bucket) > 1)


class _Clusters:
    """Union-find over hashes; `pictures` counts how many have each."""

    def __init__(self, pictures: dict[int, int], limit: int) -> None:
        self._parent = {value: value for value in pictures}
        self._pictures = dict(pictures)
        self._limit = limit

    def root(self, value: int) -> int:
        while self._parent[value] != value:
            self._parent[value] = self._parent[self._parent[value]]
            value = self._parent[value]
        return value

    def link(self, bucket: list[int]) -> None:
        """Link those of the bucket that are close."""
        hashes = np.array(bucket, np.uint64)
        for i, value in enumerate(bucket[:-1]):
            # A cluster beyond the limit is left out anyhow: before a fixed camera, where all
            # hashes fall into one bucket, this saves comparing every picture with every other.
            if self._pictures[self.root(value)] <= self._limit:
                for j in np.flatnonzero(_distances(hashes[i + 1 :], hashes[i]) <= MAX_DISTANCE):
                    self._unite(value, bucket[i + 1 + int(j)])

    def _unite(self, one: int, other: int) -> None:
        a, b = self.root(one), self.root(other)
        if a != b:
            self._parent[a] = b
            self._pictures[b] += self._pictures[a]


def _distances(hashes: NDArray[np.uint64], value: np.uint64) -> NDArray[np.int64]:
    words = np.bitwise_xor(hashes, value).view(np.uint16).reshape(-1, 4)
    return np.asarray(_BITS_OF_16[words].sum(axis=1), np.int64)
