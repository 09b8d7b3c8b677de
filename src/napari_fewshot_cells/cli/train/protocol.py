"""``napari-fewshot-train protocol``: the paper's whole experiment, or a part of it, on a Dask cluster."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...base.atomic_files import make_writable
from ...base.errors import FewShotError
from ...experiment.methods import METHODS
from ...models.registry import NETWORKS
from ..choices import Precision
from ..console import one_line_errors, stoppable
from ..predict import PARTLY_DONE

if TYPE_CHECKING:
    from distributed import Client

    from ...experiment.matrix import JobDone
    from ...experiment.plan import Cell, Plan, Start
    from ...experiment.schedules import Schedule

RESULTS_FILE = "results.csv"


@one_line_errors()
def protocol(
    out: Annotated[Path, typer.Option(help="Folder of the results. What is there is not run again.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder laid out <set>/{images,masks}/NAME.png; fetched sets by default."),
    ] = None,
    arch: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this network of {', '.join(NETWORKS)}; repeatable. The paper's by default."),
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="Only this set as the target; repeatable.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this method of {', '.join(METHODS)}; repeatable."),
    ] = None,
    k_shot: Annotated[
        list[int] | None, typer.Option(min=1, max=10, help="Only this K; repeatable. 1, 3, 5, 7, 10.")
    ] = None,
    selections: Annotated[int, typer.Option(min=1, help="Random selections of the K images.")] = 10,
    n_test: Annotated[
        int | None, typer.Option(min=1, help="Test on so many images; all that are left by default.")
    ] = None,
    schedule: Annotated[str, typer.Option(help="paper, cpu, or a TOML file.")] = "cpu",
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Train each start for so long, whatever the schedule says.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler. Its workers must share DATA and OUT, by the same paths, and "
            "run one job each (--nthreads 1). A cluster on this machine by default."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the cluster on this machine.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads of a job.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto for the best of a worker.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="Of the trainings.")] = Precision.full,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, episodes and crops.")] = 0,
    dry_run: Annotated[bool, typer.Option(help="Say what would run and what is there; run nothing.")] = False,
) -> None:
    """Leave each set out, train on the others by each method, fine-tune on K images of it, test on the rest.

    Every training and every fine-tuning keeps its own files in OUT, so that a stopped run goes on where it
    was by the same command. With --scheduler the jobs run on the workers of that cluster; DATA and OUT must
    be on a file system that all of them share.
    """
    from ...base.devices import check_device_name
    from ...experiment.plan import Plan
    from ...experiment.schedules import get_schedule

    papers = [name for name, network in NETWORKS.items() if network.of_the_paper]
    archs = _chosen(arch or papers, NETWORKS, "network")
    methods = _chosen(method, METHODS, "method")
    check_device_name(device)
    common = _with_minutes(get_schedule(schedule), minutes)
    from ...datasets.five_sets import SOURCE_NAMES, data_folder, find_sources

    targets = _chosen(target, tuple(SOURCE_NAMES), "source set")
    folder = (data or data_folder()).resolve()
    find_sources(folder)  # better said now than by every training
    from ...experiment.matrix import K_SHOTS, matrix

    k_shots = sorted(set(k_shot)) if k_shot else K_SHOTS
    cells = matrix(archs, targets, methods, k_shots, range(selections))
    plan = Plan(
        folder,
        out.resolve(),
        common,
        seed=seed,
        n_test=n_test,
        device=device,
        precision=precision.value,
        threads=threads,
        command=shlex.join(["napari-fewshot-train", *sys.argv[1:]]),
    )
    if dry_run:
        _list(cells, plan)
        return
    make_writable(plan.out)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is a Ctrl-C
    consequence = "the same command goes on from there"
    if scheduler is not None:
        consequence += "; jobs that the workers have begun come to their end"
    with stoppable(consequence), _connect(scheduler, workers, plan) as client:
        failed = _run(cells, plan, client)
    _report(failed, plan)


def _run(cells: Sequence[Cell], plan: Plan, client: Client) -> list[JobDone]:
    """Run what is missing behind two bars; returns what failed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ...experiment.matrix import collect, missing_cells, run_matrix, untrained_starts, write_csv

    missing = missing_cells(cells, plan)
    console, failed = Console(stderr=True), []
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    jobs = run_matrix(missing, plan, client)
    # jobs may take hours: the pace of all of them counts, not that of the last half minute
    bars = Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=1e9)
    try:
        with bars:
            trainings = bars.add_task("trainings", total=len(untrained_starts(missing, plan)), note="")
            fine_tunings = bars.add_task("fine-tunings", total=len(missing), note="")
            for event in jobs:
                line = f"{event.key}  {_outcome(event)}"
                bars.update(trainings if event.cell is None else fine_tunings, advance=1, note=line)
                if not console.is_terminal:
                    typer.echo(f"{event.done}/{event.total}  {line}", err=True)
                if event.error is not None:
                    failed.append(event)
    finally:
        jobs.close()
        write_csv(collect(plan.out), plan.out / RESULTS_FILE)
    return failed


def _outcome(event: JobDone) -> str:
    if event.error is not None:
        return "failed"
    return "trained" if event.row is None else f"IoU {event.row['iou']:.3f}"


def _report(failed: Sequence[JobDone], plan: Plan) -> None:
    """Say where the results are and what is missing; exit with 1 if something is."""
    typer.echo(plan.out / RESULTS_FILE)
    starts = {event.start for event in failed if event.cell is None}
    for event in failed:
        if event.cell is not None and event.start in starts:
            continue  # not run, for its start failed
        if isinstance(event.error, FewShotError):
            typer.echo(f"error: {event.key}: {event.error}", err=True)
        else:
            typer.echo(f"error: {event.key} failed:\n{event.trace}", err=True)
    if failed:
        typer.echo(
            f"error: {len(failed)} jobs failed or could not run; the same command tries again.", err=True
        )
        raise typer.Exit(PARTLY_DONE)


def _list(cells: Sequence[Cell], plan: Plan) -> None:
    """One line a training: how far it is, and how many of its fine-tunings are there."""
    from ...experiment.matrix import missing_cells, untrained_starts
    from ...experiment.plan import is_trained, iterations

    missing = missing_cells(cells, plan)
    lacking = {cell.key for cell in missing}
    of_start: dict[Start, list[Cell]] = {}
    for cell in cells:
        of_start.setdefault(cell.start, []).append(cell)
    for start, its_cells in of_start.items():
        there = sum(cell.key not in lacking for cell in its_cells)
        reached = iterations(plan, start)
        state = "trained" if is_trained(plan, start) else f"{reached} iterations" if reached else "not begun"
        typer.echo(f"{start.key:<22} {state:<18} {there} of {len(its_cells)} fine-tunings")
    typer.echo(
        f"would run {len(untrained_starts(missing, plan))} of {len(of_start)} trainings and "
        f"{len(missing)} of {len(cells)} fine-tunings by the schedule '{plan.schedule.name}'"
    )


@contextmanager
def _connect(scheduler: str | None, workers: int | None, plan: Plan) -> Iterator[Client]:
    """A client of the scheduler, or of a cluster on this machine that ends with it."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise FewShotError("protocol needs Dask: pip install 'napari-fewshot-cells[train]'.") from error
    from ...base.devices import choose_device

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=5)
        except (OSError, ValueError) as error:
            raise FewShotError(f"No Dask scheduler answers at '{scheduler}' ({error}).") from error
        with client:
            yield client
        return
    on_cpu = choose_device(plan.device).type == "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with _without_ctrl_c():
        cluster = LocalCluster(
            n_workers=workers or (max(1, cores // plan.threads) if on_cpu else 1),
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # the images of a training are not Dask's to spill or to kill for
            dashboard_address="127.0.0.1:0",  # another run may have the usual port
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,  # what fails is said at the end
        )
    with cluster, Client(cluster) as client:
        yield client


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started in here never notice Ctrl-C, which a terminal sends to all of them: we end them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _with_minutes(schedule: Schedule, minutes: float | None) -> Schedule:
    """The schedule with both budgets replaced, and a name that says so."""
    from ...training.budget import Budget

    if minutes is None:
        return schedule
    budget = Budget(minutes=minutes)
    name = f"{schedule.name}-{minutes:g}min"
    return replace(schedule, name=name, meta_budget=budget, transfer_budget=budget)


def _chosen(names: Sequence[str] | None, known: Iterable[str], what: str) -> list[str]:
    """The names without repetition, in the order of those known; all by default."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise FewShotError(f"There is no {what} '{unknown[0]}'; choose from {', '.join(known)}.")
    return [name for name in known if not names or name in names]
