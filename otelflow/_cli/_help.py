"""How ``--help`` is written: whole sentences, and examples."""

import inspect
from typing import Any

from typer.core import TyperGroup

from otelflow._cli._stdout import use_stdout


class Commands(TyperGroup):
    """The list of commands, with the whole first sentence of each."""

    def resolve_command(self, ctx: Any, args: Any) -> Any:
        """Return the command that *args* begin with, for which stdout is made ready."""
        if args[0] == "help":  # as git, pip and docker have it
            args = [*args[1:2], "--help"]
        if args == ["--help"]:
            ctx.command.main(args, prog_name=ctx.command_path, obj=ctx.obj)
        if args[0] == "version":
            ctx.fail("No such command 'version'. Did you mean '--version'?")
        name, command, rest = super().resolve_command(ctx, args)
        use_stdout(name or "")
        return name, command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a line or more for each command; nothing is clipped."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " "))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def examples(*lines: str) -> str:
    """Return the end of a help page with command lines, which are not wrapped."""
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])
