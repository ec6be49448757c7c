"""The Bitcoin networks that have Lightning invoices."""

from __future__ import annotations

from typing import Final, Literal, get_args

#: BOLT #11 names the first four; simnet is btcd's, and published invoices use it.
Network = Literal["mainnet", "testnet", "signet", "regtest", "simnet"]

NETWORKS: Final[tuple[Network, ...]] = get_args(Network)
