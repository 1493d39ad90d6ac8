"""Fixtures for every test: PostgreSQL installations and clusters, barman installations, a clean end."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.support.clusters import Cluster, ClusterMaker
from tests.support.gnupg import KeyRing
from tests.support.homes import BarmanHome
from tests.support.installations import Installation, choose, find_installations
from tests.support.places import run_directory
from tests.support.processes import end_processes_of
from tests.support.reference import reference_programs
from tests.support.sshd import Sshd, is_ssh_possible
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_HYPOTHESIS_PROFILES = {"quick": 100, "ci": 500, "deep": 10_000}
_FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Name markers and profiles; make the scratch directory here, so that the worker processes share it."""
    run_directory()
    for name, examples in _HYPOTHESIS_PROFILES.items():
        # how long an example takes says something about the machine only
        slow = [hypothesis.HealthCheck.too_slow]
        hypothesis.settings.register_profile(name, max_examples=examples, deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile(os.environ.get("BARMAN_TEST_PROFILE", "quick"))
    # who loses patience with us gets the same clean end as with Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line(
        "markers",
        "pg(versions='', *, each=True, own_tools=False, built_with=()): which PostgreSQL installations the test runs"
        " on, e.g. pg('>= 15'); each=False: only on the newest of them. Without this marker: on the newest of all.",
    )


def pytest_report_header() -> str:
    """Say which PostgreSQL versions are there."""
    return "PostgreSQL: " + (", ".join(map(_described, find_installations().values())) or "none found")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses PostgreSQL once for every installation its pg marker asks for."""
    if "installation" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("pg")
    wanted = {"versions": marker.args[0] if marker.args else "", **marker.kwargs} if marker else {"each": False}
    found = choose(**wanted)
    nothing = pytest.param(None, marks=pytest.mark.skip(reason=f"no PostgreSQL with {wanted} found"), id="no-pg")
    metafunc.parametrize("installation", found or [nothing], indirect=True, ids=str if found else None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember failures, and show the logs of barman and PostgreSQL with them."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    if report.when == "call" and report.failed:
        report.sections += _logs(getattr(item, "funcargs", {}))
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the run's scratch directory; only the process that started the workers does it."""
    directory = run_directory()
    if not hasattr(config, "workerinput") and not os.environ.get("BARMAN_TEST_KEEP"):
        end_processes_of(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _logs(funcargs: dict[str, Any]) -> list[tuple[str, str]]:
    shown = []
    for name, value in funcargs.items():
        if isinstance(value, BarmanHome):
            shown.append((f"log of {name}", value.log_text()))
        elif isinstance(value, Cluster):
            shown.append((f"PostgreSQL log of {name}", value.log_text()))
    return [(title, text[-6000:]) for title, text in shown]


def _described(installation: Installation) -> str:
    return f"{installation.major}" if installation.has_own_tools else f"{installation.major} (server only)"


@pytest.fixture
def scratch(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory for this test that the unprivileged user owns and can reach; its processes end with the test.

    Unlike tmp_path, whose parents are closed to others. BARMAN_TEST_KEEP=1 keeps those of failed tests.
    """
    directory = Path(tempfile.mkdtemp(prefix="t", dir=run_directory()))
    give(directory, 0o755)
    yield directory
    end_processes_of(directory)
    if not (os.environ.get("BARMAN_TEST_KEEP") and request.node.stash.get(_FAILED, False)):
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def installation(request: pytest.FixtureRequest) -> Installation:
    """The PostgreSQL installation of this run of the test, chosen by its pg marker."""
    chosen: Installation = request.param
    return chosen


@pytest.fixture
def clusters(scratch: Path) -> Iterator[ClusterMaker]:
    """Makes PostgreSQL clusters, which are stopped after the test."""
    maker = ClusterMaker(scratch)
    yield maker
    maker.close()


@pytest.fixture
def cluster(clusters: ClusterMaker, installation: Installation) -> Cluster:
    """A running cluster of this run's version with an empty database."""
    return clusters.make(installation)


@pytest.fixture
def home(scratch: Path) -> BarmanHome:
    """A barman installation without servers."""
    return BarmanHome(scratch / "barman")


@pytest.fixture
def sshd(scratch: Path) -> Iterator[Sshd]:
    """A running sshd that lets the unprivileged user in; skips where there is none."""
    if not is_ssh_possible():
        pytest.skip("sshd or rsync is not installed")
    running = Sshd(scratch / "sshd")
    yield running
    running.close()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The directory of the programs of Barman 3.19.1; skips where they cannot be had."""
    programs = reference_programs()
    if programs is None:
        pytest.skip("Barman 3.19.1 cannot be installed here")
    return programs


@pytest.fixture
def make_home(scratch: Path) -> Callable[..., BarmanHome]:
    """Makes further barman installations: make_home(name, programs=…, **global options)."""

    def make(name: str, **arguments: object) -> BarmanHome:
        return BarmanHome(scratch / name, **arguments)  # type: ignore[arg-type]

    return make


@pytest.fixture
def ring(home: BarmanHome) -> Iterator[KeyRing]:
    """A key pair of GnuPG for whoever runs the barman of home."""
    ring = KeyRing(home.directory)
    yield ring
    ring.forget()
