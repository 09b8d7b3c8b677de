"""What a run of the panel has brought, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..jobs.events import PlaneResult

_MOST_NAMED = 3


@dataclass
class RunSummary:
    """Filled in while a job runs."""

    found: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    trained: str = ""

    @property
    def incomplete(self) -> bool:
        """Whether some plane has no result."""
        return bool(self.skipped or self.lost)

    def add(self, result: PlaneResult, *, shown: bool) -> None:
        """Count a plane, whose image may have been removed in the meantime."""
        name, count = result.source.label, len(result.table["index"])
        if shown:
            self.found.append(f"{count} cell{'s' * (count != 1)} in '{name}'")
        else:
            self.lost.append(name)

    def __str__(self) -> str:
        lines = self.found if len(self.found) <= _MOST_NAMED else [f"{len(self.found)} images predicted"]
        words = [", ".join(lines) + "."] if lines else []
        words += [f"The model is saved as '{self.trained}'."] if self.trained else []
        words += [f"'{name}' was removed meanwhile: no result." for name in self.lost]
        if len(self.skipped) > _MOST_NAMED:
            words += [f"{len(self.skipped)} images left out, the first because:"]
        return "\n".join(words + self.skipped[: _MOST_NAMED if len(self.skipped) <= _MOST_NAMED else 1])
