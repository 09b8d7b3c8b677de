"""A job in a thread hands every event to the GUI thread, and bundles quick steps."""

from __future__ import annotations

import time
from threading import Event, get_native_id
from typing import Any

import psutil

from napari_fewshot_cells.base.progress import Progress
from napari_fewshot_cells.plugin.jobs.events import Job
from napari_fewshot_cells.plugin.jobs.worker import WAITING, Cancelled, Done, Runner, _guarded

STEPS = [*(Progress("counting", done, 500, 0.0) for done in range(1, 501)), Progress("resting", 0, 2, 0.0)]


def quick() -> Job:
    """Hundreds of steps in hardly any time."""
    yield from STEPS


def few() -> Job:
    """Steps that end before a bundle is due."""
    yield from STEPS[:3]


def test_every_step_arrives_in_order(qtbot: Any) -> None:
    runner, events = Runner(), []
    runner.happened.connect(events.append)
    with qtbot.waitSignal(runner.ended) as ended:
        runner.start(quick)
    assert ended.args == [Done()]
    assert events == STEPS


def test_quick_steps_are_handed_over_together() -> None:
    bundles = list(_guarded(Event(), quick))
    assert [step for bundle in bundles for step in bundle] == STEPS
    assert (bundles[0], bundles[-1]) == ((STEPS[0],), (STEPS[-1],))
    assert len(bundles) < 50


def test_the_last_steps_arrive_too() -> None:
    bundles = list(_guarded(Event(), few))
    assert [step for bundle in bundles for step in bundle] == STEPS[:3]


def test_a_thread_ends_with_its_job(qtbot: Any) -> None:
    """In Qt's own pool a thread lives on with its OpenMP team, and the next training takes 1.5x as long."""
    threads: list[int] = []

    def job() -> Job:
        threads.append(get_native_id())
        yield STEPS[0]

    runner = Runner()
    for _ in range(2):
        with qtbot.waitSignal(runner.ended):
            runner.start(job)
    living = psutil.Process().threads
    qtbot.waitUntil(lambda: not {thread.id for thread in living()} & set(threads))
    assert len(threads) == 2


def test_runners_that_take_turns_share_one_thread(qtbot: Any) -> None:
    """The memory that one round frees serves the next, and two trainings never run at once."""
    log: list[tuple[str, int]] = []

    def job(name: str) -> Job:
        log.append((f"{name} begins", get_native_id()))
        yield STEPS[0]
        time.sleep(0.05)
        log.append((f"{name} ends", get_native_id()))

    first, second = Runner(takes_turns=True), Runner(takes_turns=True)
    with qtbot.waitSignals([first.ended, second.ended]):
        first.start(job, "first")
        second.start(job, "second")
    assert [what for what, _ in log] == ["first begins", "first ends", "second begins", "second ends"]
    assert len({thread for _, thread in log}) == 1


def test_a_waiting_runner_says_so_and_can_be_cancelled_at_once(qtbot: Any) -> None:
    go_on, begun = Event(), []

    def long() -> Job:
        yield STEPS[0]
        go_on.wait(60)

    def waiting() -> Job:
        begun.append("waiting")
        yield STEPS[0]

    first, second, events = Runner(takes_turns=True), Runner(takes_turns=True), []
    second.happened.connect(events.append)
    with qtbot.waitSignal(first.happened):
        first.start(long)
    second.start(waiting)
    assert events == [WAITING]
    with qtbot.waitSignal(second.ended) as ended:
        second.cancel()
    assert ended.args == [Cancelled()]
    assert not second.busy
    assert first.busy
    with qtbot.waitSignals([first.ended, second.ended]):
        second.start(few)
        go_on.set()
    assert begun == []
    assert events == [WAITING, WAITING, *STEPS[:3]]
