"""How commands start background processes: this program again, quietly, with the same configuration."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from barman.cron.tick import Starter
from barman.host.runner import spawn_detached

if TYPE_CHECKING:
    from barman.cli.context import App


def build_starter(app: App, *, keep_descriptors: bool = False) -> Starter:
    """Return what starts a command of this program. keep_descriptors: it writes where we write."""
    program = (sys.executable, os.path.abspath(sys.argv[0]))
    return Starter(
        prefix=(*program, "-c", os.path.abspath(app.config_path), "-q"),
        spawn=partial(spawn_detached, keep_descriptors=keep_descriptors),
    )
