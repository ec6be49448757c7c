"""The programs in examples/: each is run against the sandbox."""
