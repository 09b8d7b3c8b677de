"""A job in a thread tells the window what it needs, and no more."""

from __future__ import annotations

from typing import Any

from napari_fewshot_cells.plugin.jobs import Job
from napari_fewshot_cells.plugin.workers import Done, Runner
from napari_fewshot_cells.progress import Progress


def quick() -> Job:
    """Steps by the hundred in next to no time."""
    for done in range(1, 501):
        yield Progress("counting", done, 500, 0.0)
    yield Progress("resting", 0, 2, 0.0)


def test_of_quick_steps_the_first_and_the_last_are_told(qtbot: Any) -> None:
    runner, told = Runner(), []
    runner.happened.connect(told.append)
    with qtbot.waitSignal(runner.ended) as ended:
        runner.start(quick)
    assert ended.args == [Done()]
    counted = [step.done for step in told if step.stage == "counting"]
    assert (counted[0], counted[-1]) == (1, 500)
    assert len(counted) < 50
    assert told[-1].stage == "resting"
