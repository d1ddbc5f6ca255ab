"""From readings to standardised features: one model per class, one memory per machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from domain.features.kernel import feature_rows
from domain.features.kinds import BANDS, PARTS
from domain.features.spectrum import frequencies
from domain.features.state import Counts, Memory, Plan, Shape, fresh_memory
from domain.features.trust import doubted
from domain.jit import addresses_of
from domain.readings import Flags, Instants, Matrix

KNOWN: Final = 1e9
"""Readings that the baseline of a machine stands for that was trained on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureRows:
    """Features of n readings.

    Attributes:
        features: Shape (n, K * S), healthy standard deviations from the healthy mean; 0 where a
            sensor was missing for too long.
        expected: Shape (n, S), in the sensor's unit.
        filled: Shape (n,), rows in the window.
        seen: Shape (n,), readings of the machine before this one.
        measured: Shape (n, K * S), the features before they were standardised; NaN where a sensor
            says nothing.
        regimes: Shape (n,), place of the regime that each was judged in.
    """

    features: Matrix
    expected: Matrix
    filled: Counts
    seen: Counts
    measured: Matrix = field(default_factory=lambda: np.empty((0, 0)))
    regimes: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def since(self, row: int) -> Self:
        """Return what comes from a row on; the arrays are shared."""
        return type(self)(
            features=self.features[row:],
            expected=self.expected[row:],
            filled=self.filled[row:],
            seen=self.seen[row:],
            measured=self.measured[row:],
            regimes=self.regimes[row:],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureModel:
    """What was learnt about the healthy machines of a class.

    Attributes:
        plan: The kernel's constants.
        window_rows: Readings in a full window.
        centre: Shape (F,), healthy mean of each feature.
        spread: Shape (2, F), healthy standard deviation of each feature in a full window, and of
            a window that holds one reading.
        freedom: Shape (F,), degrees of freedom that the spread is known with, see `trust`.
        whitening: Shape (F, F), or (0, 0) for none; see `whitening`.
        bases: Machine → the baseline at the end of its training, shape (S,).
        shape: Of a machine's memory.
    """

    plan: Plan
    window_rows: int
    centre: Matrix
    spread: Matrix
    freedom: Matrix
    whitening: Matrix = field(default_factory=lambda: np.zeros((0, 0)))
    bases: Mapping[str, Matrix] = field(default_factory=dict)
    shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        bands = np.isin(self.plan.kinds, BANDS).any()
        shape = Shape(
            window_rows=self.window_rows,
            sensors=len(self.plan.prior),
            lagged=self.plan.response.shape[1],
            waves=frequencies(self.window_rows) if bands else 0,
        )
        object.__setattr__(self, "shape", shape)

    def new_memory(self, machine: str | None = None, *, level: Matrix | None = None) -> Memory:
        """Return the memory of a machine that was not seen yet.

        Args:
            machine: Name; one that was trained on starts from its own level.
            level: Shape (S,), the baseline to start from instead, as well known as such a level.
        """
        base = self.bases.get(machine or "") if level is None else level
        return fresh_memory(
            self.shape,
            base=np.zeros(len(self.plan.prior)) if base is None else base,
            known_rows=0.0 if base is None else KNOWN,
        )

    @property
    def cold_rows(self) -> int:
        """Readings after which a machine without a past can be judged."""
        return int(self.plan.cold)

    def skipped_rows(self, rows: int) -> int:
        """Return how many of a training history's first rows teach nothing but its past."""
        return min(self.cold_rows, rows // 3)

    def transform(self, memory: Memory, instants_us: Instants, values: Matrix) -> FeatureRows:
        """Compute features and advance the memory.

        Args:
            memory: Of the machine; changed in place.
            instants_us: Shape (n,); a reading that is not later than the last counts as 0 s later.
            values: Shape (n, S); NaN is missing.
        """
        return self._standardised(self.raw(memory, instants_us, values))

    def transform_each(
        self,
        memories: Sequence[Memory],
        ends: Counts,
        instants_us: Instants,
        values: Matrix,
        anew: Flags | None = None,
    ) -> FeatureRows:
        """Compute the features of machines' readings and advance their memories.

        Args:
            memories: Changed in place.
            ends: Shape (machines,), row after the last one of each; ascending to n.
            instants_us: Shape (n,), one machine's after the other's.
            values: Shape (n, S); NaN is missing.
            anew: Shape (n,), readings from which on a machine's level is learnt anew; none without.
        """
        return self._standardised(self._raw(memories, ends, instants_us, values, anew))

    def _standardised(self, raw: FeatureRows) -> FeatureRows:
        features = np.where(np.isnan(raw.features), self.centre, raw.features) - self.centre
        full, single = self.spread**2
        # A window has few lengths, and rows are many: one spread per length.
        least = int(raw.filled.min(initial=self.window_rows))
        lengths = np.arange(least, int(raw.filled.max(initial=least)) + 1)
        spreads = np.sqrt(full + self._lacking(lengths) * np.maximum(single - full, 0.0))
        features /= spreads[raw.filled - least]
        features = doubted(features, self.freedom)
        if len(self.whitening):
            # Row by row the same sums, so that any split into calls gives the same numbers.
            features = np.einsum("ij,jk->ik", features, self.whitening)
        return replace(raw, features=features, measured=raw.features)

    def raw(self, memory: Memory, instants_us: Instants, values: Matrix) -> FeatureRows:
        """Compute features before they are standardised; NaN where a sensor says nothing."""
        ends = np.array([len(instants_us)], dtype=np.int64)
        return self._raw([memory], ends, instants_us, values)

    def _raw(
        self,
        memories: Sequence[Memory],
        ends: Counts,
        instants_us: Instants,
        values: Matrix,
        anew: Flags | None = None,
    ) -> FeatureRows:
        rows, sensors = values.shape
        features = np.empty((rows, len(self.plan.kinds) * sensors))
        expected, counts = np.empty((rows, sensors)), np.empty((3, rows), dtype=np.int64)
        words = self.shape.words
        feature_rows(
            self.plan,
            addresses_of([one.block for one in memories], words),
            self.shape,
            words,
            ends,
            np.ascontiguousarray(instants_us, dtype=np.int64),
            np.ascontiguousarray(values, dtype=np.float64),
            np.zeros(rows, dtype=np.bool_) if anew is None else anew,
            features,
            expected,
            counts,
        )
        return FeatureRows(
            features=features,
            expected=expected,
            filled=counts[0],
            seen=counts[1],
            regimes=counts[2],
        )

    def _lacking(self, filled: Counts) -> Matrix:
        """Return how near each feature's part of the window is to one reading (1) or full (0)."""
        parts = np.array([PARTS.get(int(kind), 1) for kind in self.plan.kinds])
        rows = -(-self.window_rows // parts)
        have = np.clip(filled[:, None], 1, rows)
        share = (rows / have - 1) / np.maximum(rows - 1, 1)
        return np.repeat(share, len(self.plan.prior), axis=1)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all arrays; machines' baselines in the order of their names."""
        plan = {f"plan_{name}": np.array(one) for name, one in self.plan._asdict().items()}
        bases = [self.bases[name] for name in sorted(self.bases)]
        shape = (len(bases), len(self.plan.prior))
        return {
            **plan,
            "centre": self.centre.copy(),
            "spread": self.spread.copy(),
            "freedom": self.freedom.copy(),
            "whitening": self.whitening.copy(),
            "bases": np.array(bases, dtype=np.float64).reshape(shape),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], window_rows: int, machines: Sequence[str]
    ) -> Self:
        """Restore what `to_arrays` gave."""
        parts: list[Any] = [arrays[f"plan_{name}"] for name in Plan._fields]
        fields: list[Any] = [one if one.ndim else float(one) for one in parts]
        return cls(
            plan=Plan(*fields),
            window_rows=window_rows,
            centre=arrays["centre"],
            spread=arrays["spread"],
            freedom=arrays.get("freedom", np.full(arrays["spread"].shape[1], np.inf)),
            whitening=arrays.get("whitening", np.zeros((0, 0))),
            bases=dict(zip(machines, arrays["bases"], strict=True)),
        )
