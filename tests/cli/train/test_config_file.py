"""``napari-fewshot-train --config FILE.toml``: options from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_fewshot_cells.cli.train.main import app
from napari_fewshot_cells.models.model_file import read_model

PROTOCOL = """
[protocol]
data = '{data}'
out = '{out}'
arch = "unet"
target = ["EM", "TNBC"]
method = ["complete", "transfer"]
k-shot = [1, 5]
selections = 2
dry-run = true
"""


@pytest.fixture
def config(tmp_path: Path):
    def run(text: str, *arguments: object):
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
        return CliRunner().invoke(app, ["--config", str(path), *map(str, arguments)])

    return run


def test_a_matrix_from_a_file(config, tmp_path: Path, five_sources: Path) -> None:
    text = PROTOCOL.format(data=five_sources, out=tmp_path / "out")
    result = config(text, "protocol")
    assert result.exit_code == 0, result.output
    starts = [line.split()[0] for line in result.stdout.splitlines()[:-1]]
    assert sorted(starts) == [
        "unet-EM-complete", "unet-EM-transfer", "unet-TNBC-complete", "unet-TNBC-transfer",
    ]  # fmt: skip
    assert "16 of 16 fine-tunings" in result.stdout


def test_flags_override_the_file(config, tmp_path: Path, five_sources: Path) -> None:
    text = PROTOCOL.format(data=five_sources, out=tmp_path / "out")
    result = config(text, "protocol", "--target", "B5", "--k-shot", 3)
    assert result.exit_code == 0, result.output
    assert {line.split()[0] for line in result.stdout.splitlines()[:-1]} == {
        "unet-B5-complete", "unet-B5-transfer",
    }  # fmt: skip
    assert "4 of 4 fine-tunings" in result.stdout


def test_a_training_from_a_file_keeps_what_it_says(config, tmp_path: Path, five_sources: Path) -> None:
    text = f"""
    [meta]
    sources = ['a={five_sources / "B39"}', 'b={five_sources / "EM"}']
    out = '{tmp_path / "run"}'
    k-shot = 2
    inner-steps = 1
    crops = 1
    crop-size = 32
    meta-steps = 1
    entropy = "full"
    grey = true
    native-scale = true
    """
    result = config(text, "meta", "--seed", 7)
    assert result.exit_code == 0, result.output
    settings = read_model(tmp_path / "run" / "model.safetensors").card.hyper_parameters
    found = {name: settings[name] for name in ("k_shot", "entropy", "mix", "rescale", "seed")}
    assert found == {"k_shot": 2, "entropy": "full", "mix": False, "rescale": False, "seed": 7}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[meta]\nsteps = 3", "'steps', which is not an option of 'meta'"),
        ("[train]\nsteps = 3", "'train' in the configuration"),
        ("meta = 3", "'meta' in the configuration"),
        ("[meta]\nk-shot = [1, 3]", "'k-shot' of 'meta'"),
        ("[meta]\nk-shot = 'many'", "'--k-shot'"),
        ("[meta]\nk-shot = 0", "'--k-shot'"),
        ("[meta", "is not TOML"),
    ],
)
def test_what_is_wrong_is_one_line(config, tmp_path: Path, text: str, says: str) -> None:
    result = config(text, "meta", "--out", tmp_path / "run", "--meta-steps", 1)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()


def test_the_file_in_the_documentation(config, tmp_path: Path, five_sources: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text(encoding="utf-8")
    text = text.split("## Options from a file")[1].split("```toml\n")[1].split("```")[0]
    folders = ("--data", five_sources, "--out", tmp_path / "out")
    result = config(text, "protocol", *folders, "--dry-run")
    assert result.exit_code == 0, result.output
    cells = 5 * 5 * 3 * 5  # targets, methods, K, selections
    assert f"{cells} of {cells} fine-tunings by the schedule 'cpu'" in result.stdout


def test_no_such_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--config", str(tmp_path / "none.toml"), "data"])
    assert result.exit_code == 2
    assert "none.toml' cannot be read" in result.stderr
