"""What a restore would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.errors import BarmanError
from barman.restore.prepare import prepared
from barman.restore.run import open_writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.progress import Reporter
    from barman.restore.plan import RestorePlan
    from barman.restore.request import RestoreRequest
    from barman.restore.room import Mount
    from barman.restore.timelines import Histories
    from barman.server import Server


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan, the room there is for it, and what stands against carrying it out, if anything does."""

    plan: RestorePlan
    histories: Histories
    mounts: Sequence[Mount]
    problem: BarmanError | None


def preview(server: Server, request: RestoreRequest, reporter: Reporter) -> Preview:
    """Return what restore would do with the same request; what it would refuse to plan is raised.

    Nothing is written but WAL that waits, which is archived first, as restore does.
    """
    settings = request.overrides.applied_to(server.settings)
    with prepared(server, request, reporter, looks_into_tarballs=True) as ready:
        with open_writer(server, request, ready, settings, reporter) as writer:
            mounts = writer.mounts()
            problem = None
            try:
                writer.require_possible()
            except BarmanError as error:
                problem = error
        return Preview(ready.plan, ready.histories, mounts, problem)
