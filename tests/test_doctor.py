import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from lepton_utils import datasets, doctor
from lepton_utils.__main__ import main
from lepton_utils.doctor import FAIL, OK, WARN


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a function that makes a checkout of given files and has doctor use it."""

    def make(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        monkeypatch.setattr(doctor, "find_checkout", lambda: tmp_path)

    return make


# The verdict


@pytest.mark.parametrize(
    ("results", "code", "verdict"),
    [
        ([OK, OK], 0, "verdict: ready (2 checks: 0 FAIL, 0 WARN)"),
        ([OK, WARN], 0, "verdict: ready (2 checks: 0 FAIL, 1 WARN)"),
        ([WARN, FAIL], 1, "verdict: not ready (2 checks: 1 FAIL, 1 WARN)"),
    ],
)
def test_one_failure_decides(monkeypatch, capsys, results, code, verdict):
    checks = [lambda status=status: (status, "this", "do that") for status in results]
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert main(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{results[0]:4} this  -> do that" and lines[-1] == verdict


def test_a_check_that_breaks_down_is_a_failure():
    def check_nothing():
        raise KeyError("key")

    status, text, fix = doctor.run_check(check_nothing)
    assert status == FAIL and fix and text == "check_nothing: KeyError: 'key'"


def test_the_home_folder_is_hidden(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/somebody"))
    hidden = doctor.hide_home("cache: /home/somebody/.cache can be written")
    assert hidden == "cache: ~/.cache can be written"
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    assert doctor.hide_home("/data") == "/data"


def test_every_check_of_this_machine_says_something(monkeypatch):
    slow = (doctor.check_tensorflow, doctor.check_kernel, doctor.check_packages)
    for check in doctor.CHECKS:
        if check not in slow:
            status, text, fix = check()
            assert status in (OK, WARN) and text
            assert fix or status == OK


# The checks


def test_python_is_compared_with_pyproject(checkout):
    checkout(pyproject_toml='[project]\nrequires-python = ">=3.11"\n')
    assert doctor.check_python()[0] == OK
    checkout(pyproject_toml='[project]\nrequires-python = ">=3.11,<3.11.1"\n')
    status, text, fix = doctor.check_python()
    assert (status, fix[:7]) == (FAIL, "install") and "wanted >=3.11,<3.11.1" in text


def test_python_is_compared_with_the_metadata_of_an_installed_package(monkeypatch):
    monkeypatch.setattr(doctor, "find_checkout", lambda: None)
    monkeypatch.setattr(
        metadata, "metadata", lambda name: {"Requires-Python": ">=3.99"}
    )
    assert doctor.check_python()[0] == FAIL
    assert doctor.check_packages()[0] == WARN


def test_packages_are_compared_with_their_pins():
    pins = f"""
    # a comment
    numpy=={metadata.version("numpy")}
    pytest==0.1  # another version
    no-such-package==1.0
    elsewhere==1.0 ; sys_platform == "no-such-system"
    """
    wanted, missing, other = doctor.compare_packages(pins)
    assert (wanted, missing) == (3, ["no-such-package"])
    assert other == [f"pytest {metadata.version('pytest')}"]


@pytest.mark.parametrize(
    ("pin", "status", "part"),
    [
        (f"numpy=={metadata.version('numpy')}", OK, "all 1 as pinned"),
        ("numpy==0.1", WARN, "0 missing, 1 in other versions: numpy"),
        ("no-such-package==1", FAIL, "1 missing, 0 in other versions: no-such-package"),
    ],
)
def test_a_missing_package_is_worse_than_another_version(checkout, pin, status, part):
    checkout(requirements_txt=pin)
    found, text, fix = doctor.check_packages()
    assert found == status and part in text and (fix or status == OK)


def test_one_core_is_a_warning(monkeypatch):
    for cores, status in ((8, OK), (1, WARN), (None, WARN)):
        monkeypatch.setattr(doctor.os, "cpu_count", lambda cores=cores: cores)
        assert doctor.check_processor()[0] == status


def test_tensorflow_runs_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(doctor, "TENSORFLOW", "print('2.99.0, GPUs: 0')")
    assert doctor.check_tensorflow() == (
        OK,
        "TensorFlow: 2.99.0, GPUs: 0 (none needed)",
        "",
    )
    monkeypatch.setattr(doctor, "TENSORFLOW", "import no_such_module")
    status, text, fix = doctor.check_tensorflow()
    assert status == FAIL and fix and "No module named 'no_such_module'" in text
    monkeypatch.setattr(doctor, "TENSORFLOW", "import os; os.abort()")
    assert doctor.check_tensorflow()[0] == FAIL
    monkeypatch.setattr(doctor, "TENSORFLOW", "import time; time.sleep(9)")
    monkeypatch.setattr(doctor, "TENSORFLOW_SECONDS", 0.2)
    assert "no answer in 0.2 s" in doctor.check_tensorflow()[1]


def test_little_memory_is_a_warning(monkeypatch):
    for found, status in (((16, 9), OK), ((16, 1), WARN), ((2, None), WARN)):
        monkeypatch.setattr(doctor, "read_memory", lambda found=found: found)
        assert doctor.check_memory()[0] == status
    monkeypatch.setattr(doctor, "read_memory", lambda: (None, None))
    assert doctor.check_memory()[0] == WARN


def test_memory_is_known_without_psutil(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    total, available = doctor.read_memory()
    assert available is None and (total is None or total > 0.1)
    monkeypatch.delattr(doctor.os, "sysconf", raising=False)
    assert doctor.read_memory() == (None, None)


def test_a_full_disk_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("LEPTON_CACHE", str(tmp_path / "not" / "yet"))
    assert doctor.check_disk()[0] == OK
    full = SimpleNamespace(free=1e6)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: full)
    status, _, fix = doctor.check_disk()
    assert status == WARN and "LEPTON_CACHE" in fix


def test_an_unwritable_cache_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("LEPTON_CACHE", str(tmp_path / "cache"))
    assert doctor.check_cache()[0] == OK
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEPTON_CACHE", str(tmp_path / "file" / "cache"))
    status, text, fix = doctor.check_cache()
    assert status == FAIL and "cannot be written" in text and "LEPTON_CACHE" in fix


class FakeKernel:
    """Plays the kernel's manager and its client."""

    def __init__(self, printed):
        self.printed, self.stopped = printed, False

    def execute_interactive(self, code, timeout, output_hook):
        output_hook({"content": {"execution_state": "busy"}})
        output_hook({"content": {"text": self.printed}})
        if self.printed == "never":
            raise TimeoutError("Timeout waiting for output")

    def stop_channels(self):
        pass

    def shutdown_kernel(self, now):
        self.stopped = True


@pytest.mark.parametrize(
    ("printed", "status"),
    [(sys.prefix + "\n", OK), ("/another/python\n", WARN), ("never", FAIL)],
)
def test_the_kernel_must_be_this_python_and_is_stopped(monkeypatch, printed, status):
    manager = pytest.importorskip("jupyter_client.manager")
    kernel = FakeKernel(printed)
    monkeypatch.setattr(manager, "start_new_kernel", lambda **_: (kernel, kernel))
    assert doctor.run_check(doctor.check_kernel)[0] == status
    assert kernel.stopped


def test_a_kernel_that_does_not_start_fails(monkeypatch):
    manager = pytest.importorskip("jupyter_client.manager")

    def start(**arguments):
        raise RuntimeError("Kernel didn't respond in 60 seconds")

    monkeypatch.setattr(manager, "start_new_kernel", start)
    status, text, _ = doctor.run_check(doctor.check_kernel)
    assert status == FAIL and "didn't respond" in text


def test_a_missing_browser_is_a_warning(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.check_chromium()[0] == WARN
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    assert doctor.check_chromium()[0] == OK


def test_data_are_listed_with_their_places(monkeypatch, tmp_path):
    monkeypatch.setenv("LEPTON_CACHE", str(tmp_path))
    monkeypatch.delenv("LEPTON_DATA", raising=False)
    status, text, fix = doctor.check_data()
    assert status == OK and text.startswith("data: cells: generated, nuclei: absent, ")
    places = dict(place.split(": ") for place in text[6:].split(", "))
    assert {name for name, place in places.items() if place == "generated"} == {
        "cells",
        "digits",
        "faq",
        "intents",
        "manual",
        "scenes",
        "sentences",
        "sentences_en",
        "spoken_digits",
    }
    assert len(places) == len(datasets.DATASETS)
    assert "fetch" in fix
    path = tmp_path / "dsb2018" / "dsb2018_256.npz"
    path.parent.mkdir()
    path.write_bytes(b"")
    assert f"nuclei: {tmp_path}" in doctor.check_data()[1]
    monkeypatch.setenv("LEPTON_DATA", str(tmp_path / "nowhere"))
    assert doctor.check_data()[0] == FAIL


def test_an_incomplete_package_fails(monkeypatch):
    def embedded_file(name):
        raise ValueError("name must be a file of data/")

    monkeypatch.setattr(datasets, "embedded_file", embedded_file)
    assert doctor.check_data()[0] == FAIL


def test_the_command_runs_as_a_module():
    command = [sys.executable, "-m", "lepton_utils", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "fetch" in done.stdout and "doctor" in done.stdout and not done.stderr
