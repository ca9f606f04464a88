"""A study in progress, seen from what it writes to its runs folder. Reads alone, and loads no torch."""
