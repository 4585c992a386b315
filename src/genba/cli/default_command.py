"""Nouns with a command that need not be said: ``genba report RUN_DIR`` means ``genba report page RUN_DIR``."""

from __future__ import annotations

from typing import ClassVar

from typer.core import TyperGroup


class DefaultCommand(TyperGroup):
    """A group whose first argument may be its default command's instead of a command's name."""

    default: ClassVar[str]
    #: whether the default command is also meant where nothing is said
    also_alone: ClassVar[bool] = False

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]
        meant = self.also_alone if not args else args[0] not in self.commands and args[0] not in ("--help", "-h")
        return super().parse_args(ctx, [self.default, *args] if meant else args)
