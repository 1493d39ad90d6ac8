"""Imports go down. The order of the rooms is docs/architecture.md's, written as data."""

from __future__ import annotations

import ast

import pytest

from tests.budget.source import modules, own_imports

# from top to bottom; a module may import its own room and every room below
FLOORS = (
    {"entrypoints"},
    {"cli", "client"},
    {"cron"},
    {"backup", "restore", "monitor", "exchange", "manifest"},
    {"sync"},
    {"retention"},
    {"wal"},
    {"server"},
    {"catalog"},
    {"config"},
    {"storage"},
    {"postgres"},
    {"host"},
    {"progress", "logs"},
    {"errors", "version", "human"},
)
_HEIGHT = {room: -depth for depth, floor in enumerate(FLOORS) for room in floor}

# what talks to the person or the surrounding process: only the doors may
_DOORS = {"entrypoints", "cli", "client"}
# files that are doors by their work: archive_command and restore_command end there
_HOT_PROGRAMS = {"barman.wal.put", "barman.wal.get"}


def test_every_room_has_its_floor():
    rooms = {module.room for module in modules().values()} - {""}
    assert rooms - set(_HEIGHT) == set()


def test_imports_go_down_or_stay_within_a_room():
    offences = [
        f"{module.name}:{line} imports {name}"
        for module in modules().values()
        if module.room
        for name, line in own_imports(module, types_too=True).items()
        if name.split(".")[1] != module.room and _HEIGHT[name.split(".")[1]] >= _HEIGHT[module.room]
    ]
    assert offences == []


def test_no_import_cycle_not_even_a_deferred_one():
    graph = {name: sorted(own_imports(module, types_too=True)) for name, module in modules().items()}
    assert _cycle(graph) == []


@pytest.mark.parametrize("forbidden", ["sys.argv", "sys.exit", "os.environ", "os.getenv", "print", "input"])
def test_only_the_doors_read_the_command_line_and_environment_print_or_exit(forbidden):
    offences = [
        f"{module.path.name}:{line}"
        for module in modules().values()
        if module.room not in _DOORS and module.name not in _HOT_PROGRAMS and module.name not in _ALLOWED[forbidden]
        for line in _uses(module.tree, forbidden)
    ]
    assert offences == []


# who else may, and why
_ALLOWED: dict[str, set[str]] = {
    "sys.argv": set(),
    "sys.exit": set(),
    "print": set(),
    "input": set(),
    "os.getenv": set(),
    # the environment of the programs it runs starts from ours; becoming another user changes HOME
    "os.environ": {"barman.host.runner", "barman.host.user"},
}


def _uses(tree, dotted):
    calls_only = "." not in dotted
    for node in ast.walk(tree):
        used = node.func if calls_only and isinstance(node, ast.Call) else None if calls_only else node
        if isinstance(used, (ast.Attribute, ast.Name)) and ast.unparse(used) == dotted:
            yield node.lineno


def _cycle(graph):
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for other in graph[name]:
            found = visit(other)
            if found:
                return found
        path.pop()
        done.add(name)
        return []

    for name in graph:
        found = visit(name)
        if found:
            return found
    return []
