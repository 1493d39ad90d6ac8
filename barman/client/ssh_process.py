"""A running ssh, as the programs for the PostgreSQL host need it. Hot-safe."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from barman.client.remote import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def running_ssh(
    argv: Sequence[str], *, stdin: int = subprocess.DEVNULL, stdout: int | None = None, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ssh; it is not left behind whatever happens. ClientError if it cannot be started."""
    try:
        # Without a buffer: what is in one would be written once more when the far side no longer reads.
        process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=0)
    except OSError as error:
        raise ClientError(f"cannot run ssh: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
