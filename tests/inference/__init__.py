"""Tests of what was trained, in use."""
