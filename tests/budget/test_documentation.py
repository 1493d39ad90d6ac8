"""What the documents tell people to type exists: commands, options, configuration, and the pages they link to."""

from __future__ import annotations

import re
import shlex

import pytest

from barman.config.load import load_config
from tests.budget.programs import run_program
from tests.support.places import PROJECT

_PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)(?P<page>[^)#]*)(?:#(?P<heading>[^)]*))?\)")
# a program at the beginning of a line, or of the command that a PostgreSQL setting holds
_CALL = re.compile(
    r"(?:^|(?<=')|(?<=\|\| )|(?<=sudo -u barman ))(?P<call>barman(?:-wal-\w+)? [^'|&>#\n]*)", re.MULTILINE
)
_GLOBAL = ("-q", "-d", "--quiet", "--debug")


def _blocks(*, of):
    """The fenced blocks of every page, of one language ("": unnamed), as parameters."""
    return [
        pytest.param(block["text"], id=f"{page.name}-{page.read_text()[: block.start()].count(chr(10)) + 1}")
        for page in _PAGES
        for block in _BLOCK.finditer(page.read_text())
        if block["language"] == of
    ]


def _calls():
    """Every distinct call of a program of ours: (entry point, words)."""
    found = {}
    for page in _PAGES:
        for block in _BLOCK.finditer(page.read_text()):
            for call in _CALL.finditer(block["text"]):
                program, *words = shlex.split(call["call"])
                found[program, tuple(words)] = pytest.param(
                    program, [word for word in words if word not in _GLOBAL], id=call["call"].strip()
                )
    return list(found.values())


def _heading_anchor(heading):
    """The anchor that a renderer makes of a heading's text."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(("program", "words"), _calls())
def test_a_call_in_a_document_names_a_command_and_options_that_exist(program, words, tmp_path):
    command = [] if program != "barman" or words[0].startswith("-") else [words[0]]
    shown = run_program(tmp_path, *command, "--help", entry=program.replace("-", "_"))
    assert shown.status == 0, shown.stderr
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", shown.stdout))
    options = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-zA-Z].*", word)}
    assert options <= known


@pytest.mark.parametrize("text", _blocks(of="ini"))
def test_an_example_of_configuration_is_understood(text, tmp_path):
    if not text.startswith("["):
        # Not all of a server: how it gets its WAL may be missing.
        archiver = "" if "archiver" in text else "archiver = on\n"
        text = f"[main]\n{archiver}{text}"
    if "[barman]" not in text:
        text = f"[barman]\nbarman_home = {tmp_path}\n{text}"
    (tmp_path / "barman.conf").write_text(text)
    assert load_config(tmp_path / "barman.conf").problems == ()


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in _PAGES])
def test_links_between_documents_lead_somewhere(page):
    for link in _LINK.finditer(page.read_text()):
        target = page.parent / link["page"] if link["page"] else page
        assert target.exists(), link[0]
        if link["heading"]:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert link["heading"] in {_heading_anchor(heading) for heading in headings}, link[0]
