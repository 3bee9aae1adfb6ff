"""What every subcommand is made of: help in two languages, exit codes, refusals in one sentence.

Not the subcommands. Imports click and nothing heavy: `edge --help` reads this and the table in
`edge/cli/__init__.py` only.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click

from edge.errors import EdgeError, Unusable
from edge.text import Language, Text

OK = 0
REFUSED = 1
USAGE = 2
UNREACHABLE = 69  # sysexits.h EX_UNAVAILABLE: no controller answers
CONFIG = 78  # sysexits.h EX_CONFIG: systemd does not restart on it
INTERRUPTED = 130


class Failed(EdgeError):
    """The command ends here: one sentence on stderr and an exit code."""

    def __init__(self, text: Text, code: int = REFUSED) -> None:
        super().__init__(text.en)
        self.text = text
        self.code = code


def language() -> Language:
    """The reader's language: `--lang`, `$EDGE_LANG`, then the locale (`zh…` is Chinese)."""
    for name in ("EDGE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if chosen := os.environ.get(name):
            return "zh" if chosen.lower().startswith("zh") else "en"
    return "en"


def say(text: Text, **values: object) -> None:
    """Print a sentence in the reader's language."""
    click.echo((text.format(**values) if values else text).of(language()))


def note(text: Text, **values: object) -> None:
    """Print a sentence beside the result: on stderr."""
    click.echo((text.format(**values) if values else text).of(language()), err=True)


class Option(click.Option):
    """An option whose help is a `Text`."""

    def __init__(self, *args: Any, text: Text, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.text = text


def option(*names: str, text: Text, **kwargs: Any) -> Callable[..., Any]:
    """`click.option` with a bilingual help text."""
    return click.option(*names, cls=Option, text=text, **kwargs)


class Command(click.Command):
    """A command whose help is a `Text`: paragraphs as they stand, with examples."""

    def __init__(self, *args: Any, text: Text, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.text = text
        self.params.append(Option(["--lang"], type=click.Choice(["zh", "en"]), text=LANG,
                                  expose_value=False))  # fmt: skip

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, what it does, its options."""
        formatter.write(usage(self, ctx))
        formatter.write(_indent(self.text.of(language())))
        formatter.write(columns(OPTIONS, option_rows(self, ctx)))


def command(text: Text, **kwargs: Any) -> Callable[[Callable[..., Any]], Command]:
    """`click.command` with a bilingual help text."""
    return click.command(cls=Command, text=text, **kwargs)


class Edge(click.Group):
    """The group: subcommands by name, each imported when it is asked for.

    `table` maps a name to module, attribute and a short help text.
    """

    def __init__(self, table: dict[str, tuple[str, str, Text]], text: Text, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.text = text
        self.params += [
            Option(["--lang"], type=click.Choice(["zh", "en"]), text=LANG, expose_value=False),
            Option(["--version"], is_flag=True, is_eager=True, text=VERSION, expose_value=False,
                   callback=_version),
        ]  # fmt: skip

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: the day's work first."""
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one subcommand."""
        if name not in self.table:
            return None
        module, attribute, _ = self.table[name]
        found = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what there is when there is no such command."""
        if args[0] not in self.table and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.table, 1, 0.5)
            zh = f'; 是不是 "{close[0]}"?' if close else ""
            en = f'; did you mean "{close[0]}"?' if close else ""
            raise Failed(
                Text(
                    f'没有命令 "{args[0]}"{zh} (见 edge --help)',
                    f'there is no command "{args[0]}"{en} (see edge --help)',
                ),
                USAGE,
            )
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, what it is, the commands with a line each, the options."""
        formatter.write(usage(self, ctx))
        formatter.write(_indent(self.text.of(language())))
        rows = [(name, short.of(language())) for name, (_, _, short) in self.table.items()]
        formatter.write(columns(COMMANDS, rows))
        formatter.write(columns(OPTIONS, option_rows(self, ctx)))

    def main(self, args: Sequence[str] | None = None, **_: Any) -> NoReturn:  # type: ignore[override]
        """Run, and end the process with the exit code that the help documents."""
        words = sys.argv[1:] if args is None else list(args)
        choose_language(words)
        sys.exit(self._run(words))

    def _run(self, words: list[str]) -> int:
        try:
            code = super().main(words, prog_name="edge", standalone_mode=False)
            sys.stdout.flush()
        except click.UsageError as error:
            complain(spoken(error))
            return USAGE
        except click.ClickException as error:
            complain(Text(error.format_message(), error.format_message()))
            return REFUSED
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except Failed as failed:
            complain(failed.text)
            return failed.code
        except Unusable as unusable:
            complain(unusable.text)
            return REFUSED
        except BrokenPipeError:  # `edge watch | head`: the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        return code if isinstance(code, int) else OK


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        click.echo(f"edge {version('edge-controller')}")
        ctx.exit()


def choose_language(words: Sequence[str]) -> None:
    """Take `--lang` from anywhere on the line, before the first text is printed."""
    for i, word in enumerate(words):
        if word == "--":
            return
        if word.startswith("--lang="):
            os.environ["EDGE_LANG"] = word.removeprefix("--lang=")
        elif word == "--lang" and i + 1 < len(words):
            os.environ["EDGE_LANG"] = words[i + 1]


def complain(text: Text) -> None:
    """One sentence on stderr."""
    click.echo(f"edge: {text.of(language())}", err=True)


PATHS = {
    "does not exist": Text("{path} 不存在", "{path} does not exist"),
    "is a file": Text("{path} 是文件, 应为文件夹", "{path} is a file, not a folder"),
    "is a directory": Text("{path} 是文件夹, 应为文件", "{path} is a folder, not a file"),
}


def _why(wanted: object, message: str) -> Text:
    """What is wrong with a value, where click says it in English only."""
    given = message.partition("'")[2].partition("'")[0]
    match wanted:
        case click.Choice():
            names = ", ".join(wanted.choices)
            return Text(f'没有 "{given}", 可用 {names}', f'no "{given}", there are {names}')
        case click.IntRange() | click.FloatRange():
            low, high = wanted.min, wanted.max
            whole = isinstance(wanted, click.IntRange)
            zh, en = ("整数", "a whole number") if whole else ("数", "a number")
            if high is None:
                return Text(f"应为不小于 {low} 的{zh}", f"should be {en} not below {low}")
            return Text(f"应为 {low} 至 {high} 的{zh}", f"should be {en} from {low} to {high}")
        case click.Path():
            for end, text in PATHS.items():
                if message.rstrip(".").endswith(end):
                    return text.format(path=given)
    if wanted is click.INT:
        return Text("应为整数", "should be a whole number")
    return Text(message, message)


def spoken(error: click.UsageError) -> Text:
    """A mistake on the command line, as a sentence in both languages."""
    path = error.ctx.command_path if error.ctx else "edge"
    hint = Text(f" (见 {path} --help)", f" (see {path} --help)")
    match error:
        case click.NoSuchOption():
            text = Text(f"没有选项 {error.option_name}", f"there is no option {error.option_name}")
            close = error.possibilities or ()
        case click.MissingParameter(param=click.Parameter() as param):
            name = (param.metavar or param.human_readable_name).upper()
            if isinstance(param, click.Option):
                name = f"{param.opts[0]} {name}"
            text, close = Text(f"缺少 {name}", f"{name} is missing"), ()
        case click.BadParameter(param=click.Parameter() as param):
            name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            why = _why(param.type, error.message)
            text = Text(f"{name} 无效: {why.zh}", f"{name} is not valid: {why.en}")
            close = ()
        case click.BadOptionUsage():
            text = Text(f"{error.option_name} 缺少值", f"{error.option_name} needs a value")
            close = ()
        case _:
            message = error.format_message()
            extra = re.search(r"unexpected extra arguments? \((.*)\)", message)
            zh = f"多余的参数 {extra[1]}" if extra else message
            text, close = Text(zh, f"{extra[1]} is too much" if extra else message), ()
    if close:
        text = Text(f"{text.zh}; 是不是 {close[0]}?", f"{text.en}; did you mean {close[0]}?")
    return Text(text.zh.rstrip(".") + hint.zh, text.en.rstrip(".") + hint.en)


def usage(command: click.Command, ctx: click.Context) -> str:
    """The first line of a help."""
    pieces = " ".join(command.collect_usage_pieces(ctx))
    return f"{USE.of(language())}{ctx.command_path} {pieces}\n\n"


def option_rows(command: click.Command, ctx: click.Context) -> list[tuple[str, str]]:
    """Spelling and text of each option, `--help` last."""
    rows = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None or not isinstance(param, click.Option):
            continue
        text = param.text.of(language()) if isinstance(param, Option) else record[1]
        if "--help" in param.opts:
            text = HELP.of(language())
        rows.append((record[0], text))
    return rows


def columns(title: Text, rows: Sequence[tuple[str, str]]) -> str:
    """Two columns under a title; a Chinese character takes two places."""
    left = min(26, max(width(first) for first, _ in rows) + 2)
    lines = [title.of(language())]
    for first, second in rows:
        pad = max(2, left - width(first))
        lines.append(f"  {first}{' ' * pad}{second}")
    return "\n".join(lines) + "\n\n"


def width(text: str) -> int:
    """Places on a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _indent(text: str) -> str:
    return "".join(f"  {line}".rstrip() + "\n" for line in text.strip().splitlines()) + "\n"


LANG = Text("中文或英文", "Chinese or English")
HELP = Text("显示本说明", "show this text")
VERSION = Text("显示版本", "show the version")
USE = Text("用法: ", "Usage: ")
OPTIONS = Text("选项:", "Options:")
COMMANDS = Text("命令:", "Commands:")

socket_option = option(
    "--socket",
    type=click.Path(),
    metavar="PATH",
    text=Text(
        "控制器的套接字 (默认: 本机唯一运行的那个)",
        "the controller's socket (default: the one that runs here)",
    ),
)
json_option = option(
    "--json", "as_json", is_flag=True, text=Text("输出 JSON, 供脚本使用", "print JSON, for scripts")
)
