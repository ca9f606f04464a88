"""The sources that a task can reach, read and not run: what its cache key hashes of code."""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.reach.digest import code_digest as code_digest
    from lightning_moa.reach.digest import reached as reached

__getattr__, __dir__, __all__ = attach(__name__, {"code_digest": "digest", "reached": "digest"})
