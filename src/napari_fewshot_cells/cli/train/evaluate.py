"""``napari-fewshot-train evaluate``: fine-tunes one start on selections of a target, and tests it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...base.atomic_files import make_writable, writing
from ...base.devices import enough_memory
from ...base.errors import DataError, ModelError
from ..console import one_line_errors, stoppable
from ..progress_bar import with_bar

if TYPE_CHECKING:
    from ...experiment.report.results import FineTuning
    from ...experiment.schedules import Schedule
    from ...experiment.selections import Split
    from ...models.model import Model, ModelCard
    from ...training.episodes import Task


class Statistics(StrEnum):
    """Batch-norm statistics that prediction uses."""

    support = "support"
    image = "image"
    running = "running"


@dataclass(frozen=True)
class Evaluation:
    """What all fine-tunings in one file share."""

    start: Model
    target: Task
    schedule: Schedule  # of the fine-tuning; the start's card holds its training
    selections: str  # "seeded", or the name and hash of a file
    n_test: int | None
    seed: int
    device: str

    @property
    def settings(self) -> dict[str, Any]:
        """What must be equal for all rows of a file, as the plain values of JSON."""
        settings = {
            "start": asdict(self.start.card),
            "target": self.target.name,
            "images": len(self.target.shots),
            "schedule": self.schedule.name,
            "fine-tuning": asdict(self.schedule.fine_tuning),
            "selections": self.selections,
            "test images": self.n_test,
            "seed": self.seed,
        }
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain


@one_line_errors()
@stoppable("the rows in the file are complete; run the same command to resume.")
def evaluate(
    start: Annotated[
        str,
        typer.Argument(
            metavar="START", help="The start: folder of a run, model file, or name in the library."
        ),
    ],
    target: Annotated[
        str,
        typer.Option(metavar="SET|DIR", help="One of the five sets, or a folder with images/ and masks/."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE.csv", help="One row per fine-tuning; existing rows are kept.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with <set>/{images,masks}/NAME.png (default: the downloaded sets)."),
    ] = None,
    k_shot: Annotated[
        list[int] | None,
        typer.Option(min=1, max=10, help="Images to fine-tune on; repeatable (default: 1 3 5 7 10)."),
    ] = None,
    selections: Annotated[
        str,
        typer.Option(metavar="N|FILE.json", help="Number of seeded selections, or a file of published ones."),
    ] = "10",
    schedule: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="How to fine-tune: paper, cpu, or a TOML file.")
    ] = "cpu",
    batch_norm: Annotated[
        Statistics | None,
        typer.Option(help="Batch-norm statistics of prediction, instead of the schedule's."),
    ] = None,
    n_test: Annotated[
        int | None, typer.Option(min=1, help="Test on this many images only (default: all others).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the crops, plus the selection's number.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads (default: all).")] = None,
) -> None:
    """Fine-tune a start on selections of a target, then test it on the other images at full resolution."""
    if out.suffix != ".csv":
        raise DataError(f"'{out}' must end in .csv; its settings go beside it, as .json.")
    from ...base.devices import check_device_name, choose_device
    from ...experiment.schedules import get_schedule

    check_device_name(device)
    k_shots = sorted(set(k_shot or (1, 3, 5, 7, 10)))
    chosen = _with_statistics(get_schedule(schedule), batch_norm)
    if not selections.isdecimal():  # selection 1 of a file differs from seeded selection 1
        chosen = replace(chosen, name=f"{chosen.name}, selections of {Path(selections).stem}")
    source = _find_target(target, data)
    file = start_file(start)
    import torch

    from ...models.model_file import read_model
    from ...training.episodes import load_task

    model = read_model(file)
    where = str(choose_device(device))
    if threads is not None:
        torch.set_num_threads(threads)
    task = load_task(source)
    if task.name in {source["name"] for source in model.card.sources}:
        typer.echo(
            f"note: '{model.card.name}' was trained on {task.name}, so this is no few-shot test.",
            err=True,
        )
    splits, origin = _splits(selections, task, k_shots, n_test)
    evaluation = Evaluation(model, task, chosen, origin, n_test, seed, where)
    rows = _run(evaluation, splits, out)
    typer.echo(_table(rows))
    typer.echo(out)


def method_of(card: ModelCard) -> str:
    """The method that trained a start: one of `methods.METHODS`, or its settings."""
    from ...experiment.methods import META_TRAINED
    from ...training.loss_terms import weight_names

    settings = card.hyper_parameters
    weights = {name: settings[name] for name in weight_names() if name in settings}
    if weights:
        known = [name for name, method in META_TRAINED.items() if method.trains_with(weights)]
        parts = known[:1] or [" ".join(f"{name} {weight:g}" for name, weight in weights.items())]
    else:
        by_set, balance = settings.get("by_set", False), settings.get("balance", 1.0)
        parts = ["transfer"] + ["by set"] * by_set + [f"balance {balance:g}"] * (balance != 1)
    return " ".join(parts + [f"after {card.parent}"] * bool(card.parent))


def _with_statistics(schedule: Schedule, batch_norm: Statistics | None) -> Schedule:
    if batch_norm is None or batch_norm.value == schedule.fine_tuning.batch_norm:
        return schedule
    recipe = replace(schedule.fine_tuning, batch_norm=batch_norm.value)
    return replace(schedule, name=f"{schedule.name}, {batch_norm.value} statistics", fine_tuning=recipe)


def start_file(text: str) -> Path:
    """The file of a start: the folder of a run, a model file, or a name in the library.

    Raises
    ------
    ModelError
        There is none, its card cannot be read, or it is fine-tuned already.
    """
    from ...models.model_file import read_card
    from ...training.config import MODEL_FILE
    from ..predict import model_file

    file = model_file(str(Path(text) / MODEL_FILE) if Path(text).is_dir() else text)
    if read_card(file).k_shot:
        raise ModelError(f"'{text}' is fine-tuned already; give the start that it was fine-tuned from.")
    return file


def _find_target(text: str, data: Path | None) -> Any:
    from ...datasets.five_sets import SOURCE_NAMES, data_folder, find_sources
    from ...datasets.own_sets import choose_sources

    if text in SOURCE_NAMES:
        return find_sources(data or data_folder(), (text,))[text]
    if not Path(text.rpartition("=")[2]).is_dir():
        raise DataError(
            f"There is no target '{text}'; choose from {', '.join(SOURCE_NAMES)}, or give a folder."
        )
    return choose_sources(None, text, [text])[0]


def _splits(text: str, task: Task, k_shots: list[int], n_test: int | None) -> tuple[list[Split], str]:
    """The splits, and their source."""
    from ...experiment.selections import load_selections, named_splits, seeded_splits

    if text.isdecimal():
        if int(text) == 0:
            raise typer.BadParameter("--selections must be at least 1.")
        return seeded_splits(task, k_shots, int(text), n_test), "seeded"
    file = Path(text)
    splits, skipped = named_splits(load_selections(file), task, k_shots, n_test)
    for reason in skipped:
        typer.echo(f"note: {reason}", err=True)
    return splits, f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def _run(evaluation: Evaluation, splits: Sequence[Split], out: Path) -> list[FineTuning]:
    """Run the fine-tunings that the file lacks; return the rows of all requested ones."""
    from ...experiment.few_shot_test import few_shot_steps

    make_writable(out.parent)
    done = _resume(evaluation, out)
    for number, split in enumerate(splits, 1):
        key = split.k_shot, split.selection
        if key in done:
            continue
        steps = few_shot_steps(
            evaluation.start,
            evaluation.target,
            split.support,
            split.test,
            recipe=evaluation.schedule.fine_tuning,
            seed=evaluation.seed + split.selection,
            device=evaluation.device,
        )
        title = f"{number} of {len(splits)}, K = {split.k_shot}, selection {split.selection}"
        with enough_memory(evaluation.device):
            result = with_bar(steps, title)
        done[key] = _row(evaluation, split, result.iou, result.plain_iou, result.seconds)
        _write(list(done.values()), out)
    return [done[split.k_shot, split.selection] for split in splits]


def _resume(evaluation: Evaluation, out: Path) -> dict[tuple[int, int], FineTuning]:
    """The existing rows by K and selection; writes the shared settings beside a new file."""
    from ...base.atomic_files import write_atomically
    from ...experiment.report.results import read_results

    beside = out.with_suffix(".json")
    if not out.exists():
        with writing(beside):
            write_atomically(beside, (json.dumps(evaluation.settings, indent=2) + "\n").encode())
        return {}
    if not beside.exists():
        raise DataError(f"'{out}' has lost its settings, '{beside.name}'; give another --out file.")
    there, here = json.loads(beside.read_text(encoding="utf-8")), evaluation.settings
    different = [key for key in here if there.get(key) != here[key]]
    if different:
        raise DataError(f"'{out}' was made with another {', '.join(different)}; give another --out file.")
    return {(row.k_shot, row.selection): row for row in read_results([out]).rows}


def _row(evaluation: Evaluation, split: Split, iou: float, plain_iou: float, seconds: float) -> FineTuning:
    from ...experiment.few_shot_test import machine_of
    from ...experiment.report.results import FineTuning
    from ...experiment.run_cell import software
    from ...training import provenance

    card = evaluation.start.card
    return FineTuning(
        arch=card.architecture,
        target=evaluation.target.name,
        method=method_of(card),
        k_shot=split.k_shot,
        selection=split.selection,
        iou=round(iou, 5),
        plain_iou=round(plain_iou, 5),
        seconds=round(seconds, 2),
        schedule=evaluation.schedule.name,
        seed=evaluation.seed,
        commit=provenance.commit(),
        device=evaluation.device,
        n_test=len(split.test),
        iterations=card.hyper_parameters.get("iterations", 0),
        train_seconds=card.hyper_parameters.get("seconds", 0.0),
        date=provenance.now(),
        machine=machine_of(evaluation.schedule.fine_tuning, evaluation.device),
        software=software(),
    )


def _write(rows: Sequence[FineTuning], out: Path) -> None:
    """Write all rows as a whole or not at all: they are few, and a killed run leaves no half row."""
    from ...base.atomic_files import write_atomically

    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(rows[0])])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    with writing(out):
        write_atomically(out, text.getvalue().encode())


def _table(rows: Sequence[FineTuning]) -> str:
    lines = ["  K   n  IoU              IoU at 0.5       s"]
    for k_shot in sorted({row.k_shot for row in rows}):
        of_k = [row for row in rows if row.k_shot == k_shot]
        means = [_mean_and_sd([getattr(row, name) for row in of_k]) for name in ("iou", "plain_iou")]
        seconds = median(row.seconds for row in of_k)
        lines.append(f"{k_shot:>3} {len(of_k):>3}  {means[0]:<15}  {means[1]:<15}  {seconds:.1f}")
    return "\n".join(lines)


def _mean_and_sd(values: Sequence[float]) -> str:
    return f"{mean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{mean(values):.4f}"
