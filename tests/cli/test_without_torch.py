"""Help, the list of models, and errors need no network: they are answered before torch is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FEWSHOT = [
    ["--help"],
    ["finetune", "--help"],
    ["predict", "--help"],
    ["evaluate", "--help"],
    ["models", "--help"],
    *(
        ["models", name, "--help"]
        for name in ("list", "show", "import", "export", "rename", "note", "delete")
    ),
    ["models"],
    ["models", "list"],
    ["models", "show", "fcrn"],
    ["models", "show", "nobody"],
    ["models", "show", "broken.safetensors"],
    ["models", "export", "nobody", "x.onnx"],
    ["models", "export", "fcrn", "broken.safetensors"],
    ["models", "import", "none.safetensors"],
    ["models", "import", "broken.safetensors"],
    ["models", "rename", "nobody", "x"],
    ["models", "note", "fcrn", "x"],
    ["models", "delete", "fcrn"],
    ["finetune", "none", "none", "--out", "m"],
    ["finetune", "none", "none", "--out", "fcrn"],
    ["finetune", "none", "none", "--out", "m", "--arch", "vgg"],
    ["finetune", "none", "none", "--out", "m", "--steps", "0"],
    ["finetune", "none", "none", "--out", "m", "--steps", "1", "--seconds", "1"],
    ["finetune", "none", "none", "--out", "m", "--device", "abacus"],
    ["predict", "fcrn", "none", "--out", "out"],
    ["predict", "nobody", ".", "--out", "out"],
    ["predict", "fcrn", ".", "--out", "out", "--threshold", "2"],
    ["predict", "fcrn", ".", "--out", "out", "--device", "abacus"],
    ["evaluate", "none", "none"],
]
TRAIN = [
    ["--help"],
    *(
        [name, "--help"]
        for name in ("data", "meta", "evaluate", "transfer", "contacts", "protocol", "report")
    ),
    ["--config", "none.toml", "meta", "--out", "x"],
    ["data", "--set", "B7"],
    ["data", "--data", "none"],
    ["data", "--sources", "none"],
    ["meta", "--out", "x"],
    ["meta", "--out", "x", "--meta-steps", "1", "--arch", "vgg"],
    ["meta", "--out", "x", "--meta-steps", "1", "--k-shot", "0"],
    ["meta", "--out", "x", "--meta-steps", "1", "--alpha", "-1"],
    ["meta", "--out", "x", "--meta-steps", "1", "--entropy", "half"],
    ["meta", "--out", "x", "--meta-steps", "1", "--distillation", "matched"],
    ["meta", "--out", "x", "--meta-steps", "1", "--device", "abacus"],
    ["meta", "--out", "x", "--meta-steps", "1", "--data", "none"],
    ["meta", "--out", "x", "--meta-steps", "1", "--sources", "none"],
    ["transfer", "--out", "x"],
    ["transfer", "--out", "x", "--steps", "1", "--by-set", "--stride", "3"],
    ["transfer", "--out", "x", "--steps", "1", "--precision", "half"],
    ["transfer", "--out", "x", "--steps", "1", "--device", "abacus"],
    ["transfer", "--out", "x", "--steps", "1", "--data", "none"],
    ["contacts", "fcrn", "--out", "x"],
    ["contacts", "nobody", "--out", "x.safetensors"],
    ["contacts", "fcrn", "--out", "x.safetensors", "--target", "B7"],
    ["contacts", "fcrn", "--out", "x.safetensors", "--steps", "0"],
    ["contacts", "fcrn", "--out", "x.safetensors", "--data", "none"],
    ["contacts", "fcrn", "--out", "x.safetensors", "--sources", "none"],
    ["contacts", "fcrn", "--out", "x.safetensors", "--licences", "none.toml"],
    ["protocol", "--out", "x", "--arch", "vit"],
    ["protocol", "--out", "x", "--method", "best"],
    ["protocol", "--out", "x", "--target", "B7"],
    ["protocol", "--out", "x", "--schedule", "fast"],
    ["protocol", "--out", "x", "--schedule", "none.toml"],
    ["protocol", "--out", "x", "--precision", "half"],
    ["protocol", "--out", "x", "--device", "abacus"],
    ["protocol", "--out", "x", "--data", "none"],
    ["evaluate", "fcrn", "--target", "EM", "--out", "x.json"],
    ["evaluate", "fcrn", "--target", "nowhere", "--out", "x.csv"],
    ["evaluate", "fcrn", "--target", "EM", "--data", "none", "--out", "x.csv"],
    ["evaluate", "fcrn", "--target", "EM", "--out", "x.csv", "--schedule", "fast"],
    ["evaluate", "fcrn", "--target", "EM", "--out", "x.csv", "--device", "abacus"],
    ["report", "none", "--out", "x"],
]

RUN_ALL = """
import json, sys
from typer.testing import CliRunner
from napari_fewshot_cells.cli.{}main import app
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, arguments)
    print(json.dumps([arguments, result.exit_code, "torch" in sys.modules]))
"""


@pytest.mark.parametrize(("package", "commands"), [("", FEWSHOT), ("train.", TRAIN)], ids=["use", "train"])
def test_torch_is_not_loaded(package: str, commands: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_text("no weights")
    code = RUN_ALL.format(package)
    ran = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [arguments for arguments, _, _ in answers] == commands
    for arguments, exit_code, loaded in answers:
        answered = arguments[-1] in ("--help", "models", "list") or arguments == ["models", "show", "fcrn"]
        assert exit_code == (0 if answered else 2), arguments
        assert not loaded, arguments


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("", ["--help"]),
        ("", ["models", "list"]),
        ("", ["finetune", "none", "none", "--out", "m", "--arch", "vgg"]),
        (".cli.train", ["meta", "--help"]),
        (".cli.train", ["protocol", "--out", "x", "--method", "best"]),
    ],
)
def test_processor_time(module: str, arguments: list[str], tmp_path: Path) -> None:
    """An answer takes about 0.3 s of processor time; with torch it took more than 2 s."""
    resource = pytest.importorskip("resource", reason="counts processor time as on POSIX")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", f"napari_fewshot_cells{module}", *arguments]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 2
