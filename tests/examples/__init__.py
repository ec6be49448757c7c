"""Tests of the example programs against the sandbox."""
