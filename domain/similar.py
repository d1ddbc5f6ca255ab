"""Which past incidents look like this one: the angle between their profiles. Pure.

A profile is each sensor's share of the evidence; the angle between two does not depend on how
strong or how long either was.
"""

from collections.abc import Mapping, Sequence
from math import sqrt

type Profile = Mapping[str, float]
"""Sensor name → share of the evidence, >= 0; a sensor that is not there has none."""

LEAST = 0.7
"""A smaller cosine is no likeness: two profiles of one of three equal sensors have 0.58."""


def cosine(one: Profile, other: Profile) -> float:
    """Return the cosine between two profiles: 1 for equal directions, 0 for no common sensor.

    >>> cosine({"a": 0.5, "b": 0.5}, {"a": 2.0, "b": 2.0})
    1.0
    >>> cosine({"a": 1.0}, {"b": 1.0}), cosine({}, {"b": 1.0})
    (0.0, 0.0)
    """
    product = sum(share * other.get(name, 0.0) for name, share in one.items())
    size = sqrt(sum(v * v for v in one.values())) * sqrt(sum(v * v for v in other.values()))
    return min(1.0, round(product / size, 9)) if size > 0 else 0.0


def most_similar(
    profile: Profile, others: Sequence[tuple[int, Profile]], *, top: int = 5
) -> list[tuple[int, float]]:
    """Return the numbers of the most similar ones with their cosine, the most similar first.

    Args:
        profile: Of the incident in question.
        others: Number and profile of past ones; of two equally similar the higher number wins.
        top: At most this many; those below `LEAST` are left out.
    """
    found = [(number, cosine(profile, other)) for number, other in others]
    likely = [one for one in found if one[1] >= LEAST]
    return sorted(likely, key=lambda one: (-one[1], -one[0]))[:top]
