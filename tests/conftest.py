"""Fixtures shared by all tests."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_moa.signals import SIGNALS

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of real rows beside the repository; tests that need it are skipped where it is missing."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the folder of real rows, {folder}, is not here")
    return folder


LONG = (
    *("tests/test_readme.py", "tests/runs/test_resuming.py", "tests/runs/test_together.py"),
    *("tests/forecast/test_memory_measured.py", "tests/forecast/test_rows.py", "tests/study/test_kill.py"),
    *(
        "tests/experiments/",
        "tests/runs/",
        "tests/study/",
        "tests/test_configs_on_meta.py",
        "tests/test_gpu_benchmark.py",
    ),
)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A script that is run in the tests' own process leaves them as for its end."""
    former = {each: signal.getsignal(each) for each in SIGNALS}
    yield
    for each, handler in former.items():
        signal.signal(each, signal.SIG_DFL if handler is None else handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """`make test-fast` says until when tests are begun, seconds since the epoch (see `changed`)."""
    if time.time() > float(os.environ.get("TESTS_END", "inf")):
        pytest.skip("no time left for it: make test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one of them at the end."""
    if "TESTS_END" in os.environ:
        return  # in the order in which they are given

    def place(item: pytest.Item) -> int:
        return next((i for i, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))

    items.sort(key=place)
