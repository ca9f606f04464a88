"""The commands of `moa`, a module each: `add` makes its parser; what it needs is imported when it runs, so that
`--help` and a mistyped command answer at once."""
