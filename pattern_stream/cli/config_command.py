"""`pattern-stream config show`: the presets there are, and where each option of a command gets its value."""

from __future__ import annotations

import os
from typing import Any

import click

from pattern_stream.cli.options import examples, json_output, talking
from pattern_stream.cli.output import document, json_text, path_text, plain, show, table
from pattern_stream.cli.presets import config_path, options_for, preset, read_config
from pattern_stream.cli.session import Session
from pattern_stream.errors import UsageError


@click.group(
    short_help="Show the presets of the configuration file.",
    epilog=examples("pattern-stream config show export --preset nightly"),
)
def config() -> None:
    """Named sets of options, in the user's own configuration file."""


@config.command(
    "show",
    short_help="Show presets, or where a command's options get their values.",
    epilog=examples("pattern-stream config show", "pattern-stream config show export --preset nightly"),
)
@click.argument("command", required=False)
@click.option("--preset", "name", metavar="NAME", help="The preset to look through.")
@json_output("The same as one JSON document on stdout.")
@talking
@click.pass_context
def show_presets(context: click.Context, command: str | None, name: str | None) -> None:
    """Show the configuration file and its presets; of a COMMAND, each option, its value and where that came from."""
    session, path = context.ensure_object(Session), config_path()
    if command is None:
        if name is not None:
            raise UsageError("--preset was given without a command whose options are to be shown")
        presets = read_config(path) if path.exists() else {}
        found: dict[str, Any] = {"file": str(path), "exists": path.exists(), "presets": presets}
        if session.json:
            document(found)
            return
        show(f"{path_text(path)}{'' if path.exists() else ' (is not there)'}")
        for each, commands in presets.items():
            for verb, values in commands.items():
                show(f"[presets.{plain(each)}.{plain(verb)}] {plain(json_text(values))}")
        return
    target = _command(context, command)
    given = {} if name is None else options_for(target, preset(read_config(path), path, name), path, name)
    rows = [_row(parameter, given, name) for parameter in target.params if isinstance(parameter, click.Option)]
    if session.json:
        document({"file": str(path), "command": command, "preset": name, "options": rows})
        return
    for line in table(
        ("option", "value", "from"), [(row["option"], json_text(row["value"]), row["from"]) for row in rows]
    ):
        show(line)


def _command(context: click.Context, name: str) -> click.Command:
    root = context.find_root().command
    found = root.get_command(context.find_root(), name) if isinstance(root, click.Group) else None
    if found is None or isinstance(found, click.Group):
        raise UsageError(f"there is no command {plain(name)!r} with options of its own")
    return found


def _row(option: click.Option, given: dict[str, Any], preset_name: str | None) -> dict[str, Any]:
    name, long = option.name or "", max(option.opts, key=len)
    if name in given:
        return {"option": long, "value": given[name], "from": f"preset {preset_name}"}
    if long == "--db" and (path := os.environ.get("PATTERN_DB")):
        return {"option": long, "value": path, "from": "PATTERN_DB"}
    default = option.to_info_dict().get("default")
    value = default if isinstance(default, str | int | bool) else None
    return {"option": long, "value": value, "from": "default"}
