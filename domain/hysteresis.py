"""How far a score falls back before what it began is over."""

from typing import Final

STAY: Final = 0.7
"""What a score above 1 began goes on down to this share: an incident stays open and a machine goes
on moving until their scores fall below it, an excursion lasts until below this share of its own
peak. A score that lies near the threshold flickers, and else it tells one story ten times."""
