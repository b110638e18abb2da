"""The command `pattern-stream`: which commands there are, in the order in which a person meets them.

Only click is imported here. A command's module is imported when it is called or its help is asked for, and a pipeline
only in the body of its command, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final, NoReturn

import click

from pattern_stream import __version__
from pattern_stream.cli.options import examples
from pattern_stream.cli.running import PROGRAM, run_command
from pattern_stream.errors import ExitCode

COMMANDS: Final[Mapping[str, str]] = {
    "export": "pattern_stream.cli.export_command:export",
    "import": "pattern_stream.cli.import_command:import_",
    "convert": "pattern_stream.cli.convert_command:convert",
    "list": "pattern_stream.cli.list_command:list_",
    "inspect": "pattern_stream.cli.inspect_command:inspect",
    "verify": "pattern_stream.cli.verify_command:verify",
    "sign": "pattern_stream.cli.sign_command:sign",
    "dump": "pattern_stream.cli.dump_command:dump",
    "config": "pattern_stream.cli.config_command:config",
    "init": "pattern_stream.cli.init_command:init",
    "demo": "pattern_stream.cli.demo_command:demo",
}


class Commands(click.Group):
    """A group that imports a command when it is wanted, and lists the commands in their own order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name]} is {type(command).__name__}, expected a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name; a name that is no command brings the nearest one to mind."""
        if args and args[0] not in COMMANDS:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], COMMANDS, 1):
                ctx.fail(f"no such command {args[0]!r}, did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)


@click.group(
    PROGRAM,
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("pattern-stream export -o out.car.gz", "pattern-stream inspect out.car.gz"),
)
@click.version_option(__version__, "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> int:
    """Move a Pattern constellation (its agents, groups, messages and memory) out of and into CAR archives.

    Each command has a --help of its own. Archives go to stdout unless -o names a file; "-" is stdin or stdout.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.DONE
    click.echo(context.get_help(), err=True)
    return ExitCode.USAGE


def main() -> NoReturn:
    """The console script."""
    sys.exit(run_command(commands, sys.argv[1:]))
