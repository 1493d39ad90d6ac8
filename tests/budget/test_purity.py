"""Modules that decide do nothing else: no I/O, no clock, no environment, no logging.

Held to that are the modules named here and all whose docstring says "Pure".
"""

from __future__ import annotations

import ast
import re

import pytest

from tests.budget.source import modules, own_imports

_NAMED = {
    "barman.backup.incremental",
    "barman.backup.positions",
    "barman.backup.request",
    "barman.catalog.chains",
    "barman.catalog.hook_variables",
    "barman.catalog.layout",
    "barman.catalog.record",
    "barman.catalog.selection",
    "barman.config.options",
    "barman.config.values",
    "barman.errors",
    "barman.human",
    "barman.postgres.backup_label",
    "barman.postgres.base_compression",
    "barman.postgres.conninfo",
    "barman.postgres.facts",
    "barman.postgres.lsn",
    "barman.postgres.queries",
    "barman.postgres.timelines",
    "barman.postgres.versions",
    "barman.postgres.wal_header",
    "barman.postgres.wal_names",
    "barman.restore.plan",
    "barman.restore.recovery",
    "barman.restore.select",
    "barman.restore.settings",
    "barman.restore.targets",
    "barman.restore.timelines",
    "barman.restore.wal_plan",
    "barman.retention.plan",
    "barman.retention.policy",
    "barman.storage.encrypt.openpgp",
    "barman.wal.needs",
    "barman.wal.queue",
}
PURE = _NAMED | {
    name for name, module in modules().items() if re.search(r"\bPure\b", ast.get_docstring(module.tree) or "")
}

# standard library modules that only hold and compute; pathlib for the arithmetic of paths
_DATA = {
    "__future__", "array", "ast", "bisect", "collections", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "itertools", "json", "math", "operator", "pathlib", "posixpath", "re", "shlex", "string", "struct",
    "textwrap", "types", "typing", "urllib.parse",
}  # fmt: skip
# ast for literal_eval; parsing of dates and time zone arithmetic, no I/O with explicit zones
_DATA_PACKAGES = {"dateutil"}

# attributes that touch the world through objects a pure module may hold (paths, dates)
_EFFECTS = {
    "exists", "glob", "is_dir", "is_file", "iterdir", "mkdir", "now", "open", "read_bytes", "read_text", "resolve",
    "rglob", "stat", "today", "touch", "unlink", "utcnow", "write_bytes", "write_text",
}  # fmt: skip
_EFFECT_FUNCTIONS = {"open", "print", "input"}


def test_every_module_named_as_pure_exists():
    assert _NAMED - set(modules()) == set()


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_imports_only_data_modules_and_pure_modules(name):
    module = modules()[name]
    foreign = [
        f"line {one.line}: {one.target}"
        for one in module.imports
        if not one.for_types and not _is_data(one.target) and one.target.split(".")[0] != "barman"
    ]
    own = own_imports(module, types_too=False)
    impure = [f"line {line}: {other}" for other, line in own.items() if other not in PURE]
    assert (foreign, impure) == ([], [])


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_calls_nothing_that_touches_the_world(name):
    offences = [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(modules()[name].tree)
        if isinstance(node, ast.Call) and _has_effect(node.func)
    ]
    assert offences == []


def _is_data(target):
    words = target.split(".")
    return any(".".join(words[:length]) in _DATA for length in (1, 2)) or words[0] in _DATA_PACKAGES


def _has_effect(called):
    if isinstance(called, ast.Attribute):
        return called.attr in _EFFECTS
    return isinstance(called, ast.Name) and called.id in _EFFECT_FUNCTIONS
