"""The ``aurpay`` command, run in this process where that is possible."""
