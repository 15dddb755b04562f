"""setup, record, Progress: what every chapter starts with."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import lepton_utils as lu

PROBE = """
import sys
import lepton_utils as lu
loaded = {"keras", "tensorflow"} & set(sys.modules)
assert not loaded, f"importing the package loaded {loaded}"
rng = lu.setup(seed=3)
import keras
print(rng.random(), float(keras.random.uniform((), seed=None)))
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_setup_is_quiet_and_repeats():
    first, second = run(PROBE), run(PROBE)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert first.stdout == second.stdout


def test_environment_overrides_the_seed():
    assert run(PROBE, LEPTON_SEED="4").stdout != run(PROBE).stdout
    assert lu.setup(seed=3).random() == np.random.default_rng(3).random()


@pytest.mark.parametrize("seed", [-1, "one", None])
def test_bad_seed_is_named(seed, monkeypatch):
    monkeypatch.delenv("LEPTON_SEED", raising=False)
    with pytest.raises(ValueError, match=f"seed must be an integer >= 0, got {seed!r}"):
        lu.setup(seed=seed)


def test_bad_environment_seed_is_named(monkeypatch):
    monkeypatch.setenv("LEPTON_SEED", "lucky")
    with pytest.raises(ValueError, match=r"LEPTON_SEED must be .* got 'lucky'"):
        lu.setup(seed=1)


def test_record_appends_json_lines(tmp_path, monkeypatch):
    path = tmp_path / "figures.jsonl"
    monkeypatch.setenv("LEPTON_RECORD", str(path))
    lu.record(accuracy=np.float32(0.5), steps=10)
    lu.record(loss=1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"accuracy": 0.5, "steps": 10.0}, {"loss": 1.0}]


def test_record_is_silent_without_a_benchmark(monkeypatch, capsys):
    monkeypatch.delenv("LEPTON_RECORD", raising=False)
    assert lu.record(accuracy=0.5) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "high", [1, 2], None])
def test_record_refuses_what_is_not_a_number(value):
    with pytest.raises(ValueError, match="iou must be a finite number"):
        lu.record(iou=value)


def test_progress_leaves_one_line_without_numbers_of_training(capsys, monkeypatch):
    monkeypatch.setattr("lepton_utils.progress.INTERVAL", 0)
    progress = lu.Progress()
    progress.set_params({"epochs": 2, "steps": 3})
    for epoch in range(2):
        progress.on_epoch_begin(epoch)
        for batch in range(3):
            progress.on_train_batch_end(batch, {"loss": 0.25})
    progress.on_train_end()
    shown = capsys.readouterr().out.split("\r")
    assert any("epoch 2/2  step 3/3  loss 0.250" in line for line in shown)
    assert shown[-1] == "trained: epochs 2, steps per epoch 3\n"


def test_progress_does_not_send_every_step(capsys):
    progress = lu.Progress()
    progress.set_params({"epochs": 1, "steps": 1000})
    progress.on_epoch_begin(0)
    for batch in range(1000):
        progress.on_train_batch_end(batch, {"loss": 0.25})
    assert capsys.readouterr().out.count("\r") < 100


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Progres'"):
        _ = lu.Progres
