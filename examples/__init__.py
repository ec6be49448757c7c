"""Programs to read and to run; each has a test in tests/examples."""
