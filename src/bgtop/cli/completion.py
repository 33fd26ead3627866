"""``bgtop completion SHELL``: a script that completes commands and options."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from bgtop.cli.commands import COMMANDS
from bgtop.cli.described import Described, everything
from bgtop.cli.options import Parser, new_parser

if TYPE_CHECKING:
    import argparse

SHELLS: Final = ("bash", "zsh", "fish")

_EPILOG: Final = """\
bash: bgtop completion bash > ~/.local/share/bash-completion/completions/bgtop
zsh:  bgtop completion zsh > ~/.zfunc/_bgtop   (with ~/.zfunc in fpath)
fish: bgtop completion fish > ~/.config/fish/completions/bgtop.fish
"""


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop completion",
        "Print a script that completes commands and options in a shell.",
        usage="bgtop completion bash|zsh|fish",
        epilog=_EPILOG,
    )
    made.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Print it."""
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell]
    sys.stdout.write(write(everything()))
    return 0


def _words(one: Described) -> str:
    names = [option.name for option in one.options]
    return " ".join([*one.first_words, *names, "--help"])


def _values(all_: list[Described]) -> list[tuple[str, str]]:
    """The options that take one of some words, with these, by name."""
    choices: dict[str, dict[str, None]] = {}
    for option in (option for one in all_ for option in one.options):
        if option.choices:
            choices.setdefault(option.name, {}).update(dict.fromkeys(option.choices))
    return [(name, " ".join(choices[name])) for name in sorted(choices)]


def _bash(all_: list[Described]) -> str:
    names = " ".join(command.name for command in COMMANDS)
    cases = "".join(f"        {one.command.name}) words='{_words(one)}' ;;\n" for one in all_[1:])
    values = "".join(f"        {name}) words='{of}' ;;\n" for name, of in _values(all_))
    return f"""# bash completion of bgtop
_bgtop() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words
    case "${{COMP_WORDS[1]}}" in
{cases}        *) words='{names} {_words(all_[0])}' ;;
    esac
    case "$before" in
{values}        --config|--token-file) COMPREPLY=($(compgen -f -- "$current")); return ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _bgtop bgtop
"""


def _zsh(all_: list[Described]) -> str:
    listed = "\n".join(
        f"        '{command.name}:{_plain(command.summary)}'" for command in COMMANDS
    )
    cases = "".join(
        f"        {one.command.name}) compadd -- {_words(one)} ;;\n" for one in all_[1:]
    )
    values = "".join(f"        {name}) compadd -- {of}; return ;;\n" for name, of in _values(all_))
    return f"""#compdef bgtop
_bgtop() {{
    case "$words[CURRENT-1]" in
{values}    esac
    local -a commands=(
{listed}
    )
    case "$words[2]" in
{cases}        *)
            (( CURRENT == 2 )) && _describe command commands
            compadd -- {_words(all_[0])}
            ;;
    esac
    _files
}}
_bgtop "$@"
"""


def _fish(all_: list[Described]) -> str:
    lines = ["# fish completion of bgtop"]
    for one in all_[1:]:
        name, summary = one.command.name, _plain(one.command.summary)
        lines.append(f"complete -c bgtop -n __fish_use_subcommand -a {name} -d '{summary}'")
    for one in all_:
        name = one.command.name
        if one.first_words:
            words = " ".join(one.first_words)
            lines.append(f"complete -c bgtop -n '__fish_seen_subcommand_from {name}' -a '{words}'")
        when = f"__fish_seen_subcommand_from {name}" if name else "__fish_use_subcommand"
        for option in one.options:
            value = f" -x -a '{' '.join(option.choices)}'" if option.choices else ""
            value = value or (" -r" if option.value else "")
            words = _plain(option.words)
            lines.append(f"complete -c bgtop -n '{when}' -l {option.name[2:]}{value} -d '{words}'")
    return "\n".join(lines) + "\n"


def _plain(words: str) -> str:
    return words.replace("'", "").replace(":", ",")
