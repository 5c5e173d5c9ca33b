"""One thin file per subcommand: parse, call one function, render.

`clip --help` must not import the commands it lists, so their names and one-line descriptions stand in `listing.py`.
A module here offers either a function of the command's own name (`search.search`) with typer annotations, or, for a
command with subcommands, `app: typer.Typer`. At module level it imports typer, the standard library, `clipcli.errors`
and `clipcli.commands.options`; everything else inside the function. A command ends by returning, by raising a
`clipcli.errors.ClipError`, or by returning its exit code.
"""
