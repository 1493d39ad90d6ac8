"""Finding and reading the configuration files, and what each section says: text with its place, not yet values.

Hot-safe. Everything that makes the files unusable is collected and raised as one ConfigError.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from barman.config.ini import DEFAULT_SECTION, expand, parse_ini
from barman.config.options import GLOBAL_OPTIONS, SERVER_OPTIONS
from barman.config.values import is_unset, parse_bool, unquote
from barman.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barman.config.ini import IniFile, Item

GLOBAL_SECTION = "barman"
RESERVED_NAMES = frozenset(("all",))
SEARCHED = ("~/.barman.conf", "/etc/barman.conf", "/etc/barman/barman.conf")
AUTO_FILE = ".barman.auto.conf"

_KNOWN = frozenset(GLOBAL_OPTIONS) | frozenset(SERVER_OPTIONS) | {"model"}


class Setting(NamedTuple):
    """The text of one option, expanded and unquoted, and where it stands."""

    text: str
    file: str
    line: int


class Problem(NamedTuple):
    """Something to warn about. section, option: "" where none is concerned. bad_value: the value does not count."""

    file: str
    line: int
    section: str
    option: str
    text: str
    bad_value: bool = False

    def __str__(self) -> str:
        """Return the message with its place in front."""
        return f"{place(self.file, self.line)}: {self.text}" if self.file else self.text


class Sources(NamedTuple):
    """All files together, later ones over earlier ones, option by option.

    auto_file: where config-update puts what has no file yet. files: those that were read, in order.
    """

    path: str
    files: tuple[str, ...]
    auto_file: str
    globals: Mapping[str, Setting]
    servers: Mapping[str, Mapping[str, Setting]]
    models: Mapping[str, Mapping[str, Setting]]
    problems: tuple[Problem, ...]


def place(file: str, line: int) -> str:
    """Return how messages name a place; line 0 means the whole file."""
    return f"{file}:{line}" if line else file


def find_config_file(explicit: str | None, environ: Mapping[str, str]) -> str:
    """Return the main file: explicit (-c), else $BARMAN_CONFIG_FILE, else the first of the usual ones.

    ConfigError if a named file is not there or none is found. A named path is taken as it is: no ~.
    """
    named = explicit or environ.get("BARMAN_CONFIG_FILE")
    if named:
        if not os.path.isfile(named):
            raise ConfigError(f"configuration file {named} {_why_not_there(named)}")
        return named
    for candidate in SEARCHED:
        path = os.path.expanduser(candidate)
        if os.path.isfile(path):
            return path
    raise ConfigError(
        f"no configuration file found, looked for {', '.join(SEARCHED)}", hint="Name one with -c or BARMAN_CONFIG_FILE."
    )


def _why_not_there(path: str) -> str:
    try:
        os.stat(path)
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "is not a file"


class _Reader:
    """Collects settings and problems while files are read."""

    def __init__(self) -> None:
        self.fatal: list[str] = []
        self.problems: list[Problem] = []
        self.files: list[str] = []
        self.sections: dict[str, dict[str, Setting]] = {}

    def read(self, path: str) -> IniFile | None:
        """Read and parse one file; None, and a fatal problem, if that cannot be done."""
        try:
            with open(path, encoding="utf-8") as file:
                ini = parse_ini(file.read(), path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 text ({error.reason})"
            self.fatal.append(f"{path}: cannot be read: {reason}")
            return None
        self.files.append(path)
        self.fatal += [f"{place(path, item.first)}: {item.error}" for item in ini.errors]
        return ini

    def settings(self, ini: IniFile, section: str) -> dict[str, Setting]:
        """Return the settings of a section of one file, with references expanded."""
        options = ini.options(section)
        result = {}
        for name, item in options.items():
            text = self._expand(item, options, ini.path) if name in _KNOWN else item.value
            result[name] = Setting(unquote(text), ini.path, item.first)
        return result

    def _expand(self, item: Item, options: Mapping[str, Item], path: str) -> str:
        try:
            return expand(item.value, options)
        except ValueError as error:
            message = f"{place(path, item.first)}: option {item.option} in section [{item.section}]: {error}"
            if message not in self.fatal:
                self.fatal.append(message)
            return ""

    def merge(self, ini: IniFile) -> None:
        """Lay the server and model sections of a file over what was read before."""
        for section in ini.sections:
            if section != GLOBAL_SECTION:
                self.sections.setdefault(section, {}).update(self.settings(ini, section))

    def require_same_globals(self, ini: IniFile, settings: Mapping[str, Setting]) -> None:
        """An included file may repeat [barman] only if that changes nothing."""
        if GLOBAL_SECTION not in ini.sections:
            return
        for name, setting in self.settings(ini, GLOBAL_SECTION).items():
            if name not in settings or settings[name].text != setting.text:
                self.fatal.append(
                    f"{place(setting.file, setting.line)}: option {name} in section [barman] of an included file"
                    " differs from the main file"
                )

    def finish(self) -> None:
        """Raise what made the files unusable."""
        if len(self.fatal) == 1:
            raise ConfigError(self.fatal[0])
        if self.fatal:
            raise ConfigError(f"{len(self.fatal)} problems in the configuration", problems=self.fatal)


def read_globals(path: str) -> Mapping[str, Setting]:
    """Return the [barman] settings of the main file alone, the part needed before becoming barman_user."""
    reader = _Reader()
    settings, _ = _read_main(reader, path)
    reader.finish()
    return settings


def read_sources(path: str) -> Sources:
    """Read the main file, the included ones and HOME/.barman.auto.conf. ConfigError lists every fatal problem."""
    reader = _Reader()
    settings, main = _read_main(reader, path)
    auto_file = ""
    if main is not None:
        reader.merge(main)
        home = settings["barman_home"].text if "barman_home" in settings else ""
        auto_file = os.path.join(home, AUTO_FILE)
        included = _included(reader, settings)
        if home and os.path.isfile(auto_file):
            included.append(auto_file)
        for name in included:
            ini = reader.read(name)
            if ini is not None:
                reader.require_same_globals(ini, settings)
                reader.merge(ini)
    servers, models = _classify(reader)
    reader.finish()
    return Sources(path, tuple(reader.files), auto_file, settings, servers, models, tuple(reader.problems))


def _read_main(reader: _Reader, path: str) -> tuple[dict[str, Setting], IniFile | None]:
    ini = reader.read(path)
    if ini is None:
        return {}, None
    if GLOBAL_SECTION not in ini.sections:
        reader.fatal.append(f"{path}: there is no [barman] section")
        return {}, ini
    settings = reader.settings(ini, GLOBAL_SECTION)
    home = settings.get("barman_home")
    if home is None or is_unset(home.text):
        reader.fatal.append(f"{path}: required option barman_home is missing in section [barman]")
        settings.pop("barman_home", None)
    cleanup = settings.get("lock_directory_cleanup")
    if cleanup is not None:
        try:
            parse_bool(cleanup.text)
        except ValueError as error:
            reader.fatal.append(
                f"{place(cleanup.file, cleanup.line)}: invalid value {cleanup.text!r} for option"
                f" lock_directory_cleanup: {error}"
            )
    return settings, ini


def _included(reader: _Reader, settings: Mapping[str, Setting]) -> list[str]:
    """Return the *.conf files of configuration_files_directory in name order; what cannot be used is a warning."""
    option = "configuration_files_directory"
    setting = settings.get(option)
    if setting is None or is_unset(setting.text):
        return []
    directory = os.path.expanduser(setting.text)

    def warn(text: str) -> None:
        reader.problems.append(Problem(setting.file, setting.line, GLOBAL_SECTION, option, text))

    if not os.path.isdir(directory):
        warn(f"{option} {directory} is not a directory, ignored")
        return []
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
    except OSError as error:
        reader.fatal.append(f"{directory}: cannot be read: {error.strerror}")
        return []
    paths = [os.path.join(directory, name) for name in names]
    for path in paths:
        if not os.path.isfile(path):
            warn(f"{path} is not a file, ignored")
    return [path for path in paths if os.path.isfile(path)]


def _classify(reader: _Reader) -> tuple[dict[str, dict[str, Setting]], dict[str, dict[str, Setting]]]:
    """Tell server sections from model sections."""
    servers, models = {}, {}
    for name in sorted(reader.sections):
        settings = reader.sections[name]
        if name in RESERVED_NAMES:
            reader.fatal.append(f"{_first_place(settings.values())}: section name [{name}] is reserved")
        elif _is_model(reader, name, settings):
            models[name] = settings
            if "cluster" not in settings or is_unset(settings["cluster"].text):
                reader.fatal.append(f"{_first_place(settings.values())}: model [{name}] has no option cluster")
        elif name != DEFAULT_SECTION:
            servers[name] = settings
    return servers, models


def _is_model(reader: _Reader, name: str, settings: Mapping[str, Setting]) -> bool:
    setting = settings.get("model")
    if setting is None:
        return False
    try:
        return parse_bool(setting.text)
    except ValueError as error:
        reader.fatal.append(
            f"{place(setting.file, setting.line)}: invalid value {setting.text!r} for option model"
            f" in section [{name}]: {error}"
        )
        return False


def _first_place(settings: Iterable[Setting]) -> str:
    return min((place(setting.file, setting.line) for setting in settings), default="configuration")
