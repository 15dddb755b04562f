"""Measure what benchmarks/runs.toml lists, and write benchmarks/results/NAME.json.

python tools/benchmarks.py             all of it
python tools/benchmarks.py NAME...     some of it
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from measuring import Meter, machine, provenance
from notebook_form import ROOT, write_atomically
from notebooks import execute, kernel_environment, read_record
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

KEYS = {"source", "parameters", "metrics", "published"}
PUBLISHED_KEYS = {"metric", "value", "what", "source"}
LIMIT = 30 * 60  # seconds on 2 cores


def load_runs(root=ROOT):
    """Return the table of runs.

    Raises:
        ValueError: if an entry lacks a key, has an unknown one, or cites no source.
    """
    runs = tomllib.loads((root / "benchmarks" / "runs.toml").read_text("utf8"))
    for name, entry in runs.items():
        if set(entry) != KEYS or not entry["metrics"]:
            raise ValueError(f"{name} must have {sorted(KEYS)}, got {sorted(entry)}")
        for figure in entry["published"]:
            if (
                set(figure) != PUBLISHED_KEYS
                or figure["metric"] not in entry["metrics"]
            ):
                raise ValueError(f"{name}: published needs {sorted(PUBLISHED_KEYS)}")
    return runs


def measure(name, entry, root=ROOT):
    """Run one benchmark and return what is written about it.

    Args:
        name: str, its name.
        entry: dict, its entry in runs.toml.
        root: Path of the repository.

    Raises:
        ValueError: if the figures handed over are not those that runs.toml promises.
        RuntimeError: if the run fails; the message is the program's own.
    """
    source = root / entry["source"]
    start = run_notebook if source.suffix == ".ipynb" else run_script
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.jsonl"
        environment = kernel_environment(LEPTON_RECORD=str(record))
        if "LEPTON_DATA" in os.environ:
            # A kernel starts in its chapter's folder.
            environment["LEPTON_DATA"] = os.path.abspath(os.environ["LEPTON_DATA"])
        with Meter() as meter:
            start(source, entry["parameters"], environment)
        metrics = read_record(record)
    if set(metrics) != set(entry["metrics"]):
        raise ValueError(
            f"runs.toml promises {sorted(entry['metrics'])}, got {sorted(metrics)}"
        )
    ordered = {metric: round(metrics[metric], 6) for metric in entry["metrics"]}
    where = {"source": entry["source"], "parameters": entry["parameters"]}
    measured = meter.figures() | {"machine": machine()} | provenance()
    return {"name": name} | where | {"metrics": ordered} | measured


def run_notebook(source, parameters, environment):
    """Execute a chapter with other parameters, in its folder; store nothing."""
    nb = load_notebook_node(str(source))
    if parameters:
        nb = parameterize_notebook(nb, parameters)
    try:
        execute(nb, source.parent, environment, timeout=LIMIT)
    except Exception as error:
        raise RuntimeError(str(error)) from error


def run_script(source, parameters, environment):
    """Run a script, its parameters as ``--name value``."""
    options = [text for k, v in parameters.items() for text in (f"--{k}", str(v))]
    command = [sys.executable, str(source), *options]
    done = subprocess.run(
        command, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")


def main(arguments=None, root=ROOT):
    """Measure the named benchmarks, or all; return the exit status."""
    runs = load_runs(root)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(runs))
    names = parser.parse_args(arguments).names or list(runs)
    unknown = [name for name in names if name not in runs]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; known: {', '.join(runs)}")
        return 1
    return min(sum(not report(name, runs[name], root) for name in names), 1)


def report(name, entry, root):
    """Measure one benchmark, write its result, and print it; return whether it ran."""
    try:
        result = measure(name, entry, root)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"{name}: nothing written. {error}")
        return False
    folder = root / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / f"{name}.json", text)
    figures = ", ".join(f"{k} {v:.4g}" for k, v in result["metrics"].items())
    print(f"{name}: {figures} ({result['seconds']} s, {result['cores']} cores)")
    if result["seconds"] > LIMIT:
        print(f"{name}: took longer than {LIMIT // 60} minutes: make it smaller")
    return True


if __name__ == "__main__":
    sys.exit(main())
