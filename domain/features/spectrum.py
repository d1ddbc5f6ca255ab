"""The spectrum of a sensor's window, kept up row by row, and the energy in its bands.

The transform is taken over places in the ring, not over ages: a new value changes each frequency
by its difference from the one it replaces, and turning the ring does not change a frequency's size.
The transform of what was measured at all is kept beside it, so that the window's mean can be taken
from the measured places alone, and a value that is missing is neither a zero nor a jump.
"""

import numpy as np

from domain.features.state import Memory
from domain.jit import njit

REAL, IMAGINARY, SEEN_REAL, SEEN_IMAGINARY = range(4)
"""Places in `Memory.waves`: transform of the values, and of 1 where there is one."""


def frequencies(window_rows: int) -> int:
    """Return how many frequencies a window has, from one turn per window to every other row."""
    return window_rows // 2


@njit
def band_of(frequency: int, frequencies: int) -> int:
    """Return the band, 0 to 2, of a frequency, 1 to `frequencies`: thirds of its logarithm."""
    if frequencies == 1:
        return 2
    return min(2, int(3 * np.log(frequency) / np.log(frequencies)))


@njit
def turn_wave(memory: Memory, slot: int, sensor: int, change: float, seen: int) -> None:
    """Let one sensor's spectrum follow its ring.

    Args:
        memory: Changed in place.
        slot: The ring's place that changed.
        sensor: Whose.
        change: New less old value; a missing one is 0.
        seen: 1 if a missing value was replaced by one that is there, -1 if the other way, else 0.
    """
    rows = len(memory.ring)
    for at in range(len(memory.waves)):
        angle = -2 * np.pi * ((at + 1) * slot % rows) / rows
        cosine, sine = np.cos(angle), np.sin(angle)
        wave = memory.waves[at]
        wave[REAL, sensor] += change * cosine
        wave[IMAGINARY, sensor] += change * sine
        if seen:
            wave[SEEN_REAL, sensor] += seen * cosine
            wave[SEEN_IMAGINARY, sensor] += seen * sine


@njit
def recount_wave(memory: Memory, filled: int, sensor: int) -> None:
    """Take one sensor's spectrum anew from its ring."""
    memory.waves[:, :, sensor] = 0.0
    for slot in range(filled):
        value = memory.ring[slot, sensor]
        if not np.isnan(value):
            turn_wave(memory, slot, sensor, value, 1)


@njit
def band_deviation(memory: Memory, band: int, sensor: int, mean: float) -> float:
    """Return the standard deviation that a band has; squared, all bands sum to the variance.

    Args:
        memory: Read only.
        band: 0 is the slowest, 2 the fastest.
        sensor: At least one value of it is in the window.
        mean: Of the window.
    """
    rows, count, energy = len(memory.ring), len(memory.waves), 0.0
    for at in range(count):
        if band_of(at + 1, count) == band:
            wave = memory.waves[at]
            real = wave[REAL, sensor] - mean * wave[SEEN_REAL, sensor]
            imaginary = wave[IMAGINARY, sensor] - mean * wave[SEEN_IMAGINARY, sensor]
            # All but every other row stand for a frequency and its mirror image.
            mirrored = 1.0 if 2 * (at + 1) == rows else 2.0
            energy += mirrored * (real * real + imaginary * imaginary)
    return float(np.sqrt(energy / (rows * memory.have[sensor])))
