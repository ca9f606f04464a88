"""Imported last by the process that others are forked from: what the libraries hold is no garbage, and a look for it in
a forked process would copy all of it."""

import gc

gc.collect()
gc.freeze()
