"""How long a training may take: iterations, minutes, or both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """When to stop: after `meta_steps` iterations or `minutes` of training, whichever comes first."""

    meta_steps: int | None = None
    minutes: float | None = None

    def share(self, iteration: int, seconds: float) -> float:
        """The share of the budget spent after this many iterations and seconds; all of it at 1 and above.

        It is the larger of the shares of iterations and of time, and 0 without any limit.
        """
        shares = [0.0]
        if self.meta_steps is not None:
            shares.append(iteration / self.meta_steps if self.meta_steps else 1.0)
        if self.minutes is not None:
            shares.append(seconds / (60 * self.minutes) if self.minutes else 1.0)
        return max(shares)

    def is_spent(self, iteration: int, seconds: float) -> bool:
        """Whether a run of this many iterations and seconds has spent its budget."""
        return self.share(iteration, seconds) >= 1
