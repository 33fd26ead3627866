# Sourced by the other scripts: how they speak.

say() { printf 'bgtop: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}
