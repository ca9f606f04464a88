"""Hashes of local files, so that other content under the same name is other runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from lightning_moa.errors import UserError


def digest(path: str | None, key: str = "data.path") -> str:
    """Hash of a file, or of all files of a folder but the hidden ones (.git, .cache), with their names in it, which may
    say what each is for; `key` names them in errors. Empty for no path.

    Raises:
        UserError: a file that cannot be read.
    """
    if path is None:
        return ""
    root = Path(path).expanduser()
    files = sorted(file for file in root.rglob("*") if file.is_file() and not _hidden(file.relative_to(root)))
    if not root.is_dir():
        files = [root]
    digest = hashlib.sha256()
    for file in files:
        if file != root:
            digest.update(os.fsencode(file.relative_to(root).as_posix()) + b"\0")
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise UserError(f"{key}={path}: {file.name} cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)
