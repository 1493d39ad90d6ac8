"""Lets one call of a program kill it, or fail. Python reads this at its start, if support/faults asks for it.

Calls are those that change what a crash leaves behind. Which of them is meant is told by what it is about, and the how
manyeth of this kind it is in the whole process, all threads together: that is the same in every run.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS = ("rename", "replace", "link", "fsync", "fdatasync", "unlink", "remove", "rmdir", "mkdir")
_NAMED_BY_SECOND = {"rename", "replace", "link"}
# What differs from run to run.
_VARIABLE = (
    (re.compile(r"\.\d+\.\d+\.tmp$"), ".tmp"),
    (re.compile(r"\d{8}T\d{6}"), "TIME"),
    (re.compile(r"/data/.*"), "/data/*"),
    (re.compile(r"(\.repair-|barman-verify-)\w+"), r"\1*"),
    (re.compile(r"[0-9A-F]{24}"), "SEGMENT"),
    (re.compile(r"\b[0-9A-F]{16}\b"), "HASH"),
)


class _FaultPoint:
    def __init__(self, plan: dict[str, Any]) -> None:
        self._root = plan["root"]
        self._log = os.open(plan["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._target = tuple(plan["target"] or ())
        self._fault = plan["fault"]
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def pass_by(self, call: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        if call == "mkdir" and os.path.isdir(arguments[0]):
            # Locks see that their directory is there, each time they are tried.
            return
        place = self._place(call, arguments, options.get("dir_fd"))
        with self._lock:
            self._seen[call, place] += 1
            point = (call, place, self._seen[call, place])
            os.write(self._log, (json.dumps(point) + "\n").encode())
        if point != self._target:
            return
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self._fault)
        names = [] if isinstance(arguments[0], int) else [arguments[0]]
        raise OSError(code, os.strerror(code), *names)

    def _place(self, call: str, arguments: tuple[Any, ...], directory: int | None) -> str:
        about = arguments[call in _NAMED_BY_SECOND]
        path = os.readlink(f"/proc/self/fd/{about}") if isinstance(about, int) else os.fspath(about)
        path = os.fsdecode(path)
        if directory is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), path)
        path = path.removesuffix(" (deleted)").removeprefix(self._root)
        for pattern, word in _VARIABLE:
            path = pattern.sub(word, path)
        return path


def _watched(point: _FaultPoint, call: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def watched(*arguments: Any, **options: Any) -> Any:
        point.pass_by(call, arguments, options)
        return original(*arguments, **options)

    return watched


def _install(plan: dict[str, Any]) -> None:
    point = _FaultPoint(plan)
    for call in _CALLS:
        original = getattr(os, call)
        watched = _watched(point, call, original)
        setattr(os, call, watched)
        # shutil looks there whether it can do without whole paths.
        if original in os.supports_dir_fd:
            os.supports_dir_fd.add(watched)


# Not for programs that this one starts.
if plan := os.environ.pop("BARMAN_TEST_FAULT_POINT", None):
    _install(json.loads(plan))
