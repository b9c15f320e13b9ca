"""``actviz help``: the pages of the guide in the terminal."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actviz.cli.markdown_text import markdown_text
from actviz.errors import UsageError, escape
from actviz.suggestions import did_you_mean, near_names
from actviz.system import file_system

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

FOLDER = Path(__file__).parents[1] / "docs"
# In reading order; the title of each is the first line of its file.
PAGES = (
    "figures", "inputs", "addresses", "batches", "activations", "check-and-diff", "top", "report", "filters", "history", "python", "explain", "formats",
    "untrusted-models", "configuration", "exit-codes", "speed", "contributing",
)  # fmt: skip
SECTION, CODE = re.compile(r"^(?=## )", re.MULTILINE), re.compile(r"`([^`\n]+)`")
MIN_WORD, MIN_COUNT = 3, 5
MAX_BYTES = 1 << 20
MAX_WIDTH, PIPED_WIDTH = 100, 80


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    del ctx, param
    return [CompletionItem(page) for page in PAGES if page.startswith(incomplete)]


@click.command("help")
@click.argument("topic", required=False, shell_complete=_complete)
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> None:
    """Print a page of the guide, or the options of a command.

    TOPIC is a page, a command, or a word such as shards, whose section is printed; without
    it, the pages are listed. On a terminal a page is shown through a pager.
    """
    group = ctx.find_root().command
    commands = group.list_commands(ctx) if isinstance(group, click.Group) else []
    if topic is None:
        click.echo(_contents(commands))
    elif topic in PAGES:
        _show(_read(topic))
        if topic in commands:
            click.echo(f"\nOptions of the command: actviz {topic} --help")
    elif isinstance(group, click.Group) and (named := group.get_command(ctx, topic)) is not None:
        click.echo(named.get_help(click.Context(named, info_name=topic, parent=ctx.find_root(), max_content_width=100)))
    elif text := _about(topic):
        _show(text)
    else:
        hint = did_you_mean(near_names(topic, [*PAGES, *commands], 1)) or "actviz help lists the pages."
        message = f'there is no page or command "{escape(topic, 60)}"; {hint}'
        raise UsageError(message)


def _read(page: str) -> str:
    return file_system.read_bytes(FOLDER / f"{page}.md", MAX_BYTES).decode("utf-8")


def _contents(commands: list[str]) -> str:
    """Return the list of pages with the title of each."""
    width = max(map(len, PAGES))
    titles = {page: _read(page).partition("\n")[0].partition(": ")[2] for page in PAGES}
    lines = [f"  {page.ljust(width)}  {title}" for page, title in titles.items()]
    tail = f"Options of a command: actviz help COMMAND, where COMMAND is one of {', '.join(commands)}."
    return "\n".join(["Pages of the guide, printed by actviz help PAGE:", "", *lines, "", tail])


def _about(topic: str) -> str:
    """Return the section that is most about a word or option, and where to read on; empty if there is none.

    A word in a heading counts ten times as much as in the text, names in backticks three times as much.
    """
    word = re.escape(topic.lstrip("-@"))
    stem = word.removesuffix("s") if len(word) > MIN_WORD and not word.endswith("ss") else word
    pattern = re.compile(rf"(?<![\w-])(?:--|@)?{stem}s?(?![\w-])", re.IGNORECASE)
    best, most, pages = "", 1, dict[str, int]()
    for page in PAGES[:-1] if len(word) >= MIN_WORD else ():  # contributing is for developers
        title, text = _read(page).split("\n", 1)
        for section in SECTION.split(f"{title}\n{text}"):
            code = " ".join(CODE.findall(section))
            heading = section.partition("\n")[0]
            count = sum(
                factor * len(pattern.findall(part)) for factor, part in ((10, heading), (2, code), (1, section))
            )
            pages[page] = max(pages.get(page, 0), count)
            if count > most:
                whole = section if section.startswith(title) else f"{title}\n\n{section}"
                best, most = f"{whole.rstrip()}\n\nThe whole page: actviz help {page}", count
    others = [page for page, count in pages.items() if MIN_COUNT <= count < most]
    return f"{best}; see also {', '.join(others)}." if best and others else best


def _show(text: str) -> None:
    if not sys.stdout.isatty():
        click.echo(markdown_text(text, PIPED_WIDTH))
        return
    width = min(MAX_WIDTH, shutil.get_terminal_size().columns)
    click.echo_via_pager(markdown_text(text, width) + "\n")
