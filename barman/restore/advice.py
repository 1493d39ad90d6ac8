"""What a restored cluster needs that its backup does not bring along. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.postgres.control_file import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from barman.restore.settings_plan import SettingsPlan


def find_shortfalls(settings: SettingsPlan, limits: Mapping[str, int]) -> Iterator[str]:
    """Yield a warning for each setting that is lower than the origin ran with: recovery stops at the first of them.

    limits: control_file.parse_limits. A setting that is given on the command line, or in a file outside the data
    directory, is missing in a restored cluster. Source: PostgreSQL manual, "Administrator's Overview" of Hot Standby.
    """
    for name, needed in limits.items():
        text = settings.settings.get(name)
        value = DEFAULTS[name] if text is None else int(text) if text.isdecimal() else None
        if value is not None and value < needed:
            where = "by default" if text is None else "in its configuration"
            yield (
                f"{name} of the restored cluster is {value} {where}, and was {needed}: recovery needs as much, "
                "or hot_standby = off"
            )


def advise(settings: SettingsPlan | None) -> Iterator[str]:
    """Yield what to look after before PostgreSQL is started."""
    if settings is not None and settings.libraries:
        yield f"PostgreSQL loads these libraries, which have to be installed: {', '.join(settings.libraries)}"
    yield (
        "a C library or ICU of another version than the origin's may sort text differently: then indexes on text have "
        "to be rebuilt (REINDEX), which a backup does not tell"
    )
