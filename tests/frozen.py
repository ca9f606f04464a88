"""Imported last by the process that others are forked from: what the libraries hold is no garbage, and a look for it in
a forked process would copy all of it. Nor need each of them parse the package's sources for its runs' keys."""

import gc

from lightning_moa.reach import code_digest

code_digest(["lightning_moa.runs.align:align", "lightning_moa.runs.evaluate:evaluate"])
gc.collect()
gc.freeze()
