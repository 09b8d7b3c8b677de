"""``napari-fewshot-train protocol``: runs the paper's experiment, or a part of it, on a Dask cluster."""

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
    out: Annotated[Path, typer.Option(help="Folder of the results. Existing results are not run again.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with <set>/{images,masks}/NAME.png (default: the downloaded sets)."),
    ] = None,
    arch: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this network; repeatable. {', '.join(NETWORKS)} (default: the paper's)."),
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="Only this set as the target; repeatable.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this method; repeatable. {', '.join(METHODS)} (default: all)."),
    ] = None,
    k_shot: Annotated[
        list[int] | None, typer.Option(min=1, max=10, help="Only this K; repeatable (default: 1 3 5 7 10).")
    ] = None,
    selections: Annotated[int, typer.Option(min=1, help="Number of random selections of K images.")] = 10,
    n_test: Annotated[
        int | None, typer.Option(min=1, help="Test on this many images only (default: all others).")
    ] = None,
    schedule: Annotated[
        str, typer.Option(help="How to train and fine-tune: paper, cpu, or a TOML file.")
    ] = "cpu",
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Train each start for this many minutes instead of the schedule's budget."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler (default: a cluster on this machine). Its workers must share "
            "DATA and OUT by the same paths, and run one job each (--nthreads 1)."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes on this machine.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads per job.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: the best that a worker has.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="Precision of the trainings.")] = Precision.full,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, episodes and crops.")] = 0,
    dry_run: Annotated[
        bool, typer.Option(help="List what exists and what would run, and run nothing.")
    ] = False,
) -> None:
    """Leave out each set: train on the others by each method, fine-tune on K of its images, test on the rest.

    Every training and every fine-tuning keeps its own files in OUT, so that the same command resumes a
    stopped run. With --scheduler, the jobs run on the workers of that cluster; all of them must share the
    file system of DATA and OUT.
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
    find_sources(folder)  # fails here, not in every training
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
        _print_plan(cells, plan)
        return
    make_writable(plan.out)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems stop a job by SIGTERM
    consequence = "run the same command to resume"
    if scheduler is not None:
        consequence += "; jobs that the workers have begun will finish"
    with stoppable(consequence), _connect(scheduler, workers, plan) as client:
        failed = _run(cells, plan, client)
    _report(failed, plan)


def _run(cells: Sequence[Cell], plan: Plan, client: Client) -> list[JobDone]:
    """Run the missing jobs behind two progress bars; return those that failed."""
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
    # jobs may take hours: estimate the pace from all of them, not from the last half minute
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
    """Print where the results are and what failed; exit with 1 if anything did."""
    typer.echo(plan.out / RESULTS_FILE)
    starts = {event.start for event in failed if event.cell is None}
    for event in failed:
        if event.cell is not None and event.start in starts:
            continue  # not run, because its start failed
        if isinstance(event.error, FewShotError):
            typer.echo(f"error: {event.key}: {event.error}", err=True)
        else:
            typer.echo(f"error: {event.key} failed:\n{event.trace}", err=True)
    if failed:
        typer.echo(
            f"error: {len(failed)} jobs failed or could not run; run the same command to try again.", err=True
        )
        raise typer.Exit(PARTLY_DONE)


def _print_plan(cells: Sequence[Cell], plan: Plan) -> None:
    """Print a line per training: how far it is, and how many of its fine-tunings exist."""
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
    """A client of the scheduler, or of a cluster on this machine that ends with the client."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise FewShotError("protocol needs Dask: pip install 'napari-fewshot-cells[train]'.") from error
    from ...base.devices import choose_device

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=5)
        except (OSError, ValueError) as error:
            raise FewShotError(
                f"No Dask scheduler answers at '{scheduler}' ({error}); check --scheduler."
            ) from error
        with client:
            yield client
        return
    on_cpu = choose_device(plan.device).type == "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with _ignoring_ctrl_c():
        cluster = LocalCluster(
            n_workers=workers or (max(1, cores // plan.threads) if on_cpu else 1),
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # Dask must not kill a worker for the images that its training holds
            dashboard_address="127.0.0.1:0",  # another run may use the default port
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,  # failures are reported at the end
        )
    with cluster, Client(cluster) as client:
        yield client


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """Start processes that ignore Ctrl-C: a terminal sends it to all of them, but we end them in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _with_minutes(schedule: Schedule, minutes: float | None) -> Schedule:
    """The schedule with both budgets replaced, and the minutes in its name."""
    from ...training.budget import Budget

    if minutes is None:
        return schedule
    budget = Budget(minutes=minutes)
    name = f"{schedule.name}-{minutes:g}min"
    return replace(schedule, name=name, meta_budget=budget, transfer_budget=budget)


def _chosen(names: Sequence[str] | None, known: Iterable[str], what: str) -> list[str]:
    """The names without repetition, in the order of `known`; all of them by default."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise FewShotError(f"There is no {what} '{unknown[0]}'; choose from {', '.join(known)}.")
    return [name for name in known if not names or name in names]
