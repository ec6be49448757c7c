"""Invoices that we sign, decoded by the npm package ``bolt11``: `nox -s interop`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from aurpay_async import bolt11

from .builder import PAYEE
from .test_sign import HOP, SHOWCASE, make

READER = """
const invoices = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(invoices.map(text => require("bolt11").decode(text))));
"""


def decode_with_npm(*invoices: str) -> list[dict[str, Any]]:
    """Return what the npm package decodes, with tags by name."""
    if "NODE_PATH" not in os.environ:
        pytest.skip("NODE_PATH names no npm packages: `nox -s interop` does it")
    node = shutil.which("node")
    assert node
    done = subprocess.run(
        [node, "-e", READER],
        input=json.dumps(invoices),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    return [
        {**answer, **{tag["tagName"]: tag["data"] for tag in answer["tags"]}}
        for answer in answers
    ]


def test_the_npm_package_bolt11_decodes_our_invoices_to_the_same_values() -> None:
    signed = [
        make(**{**SHOWCASE, "network": "regtest"}),
        make(**SHOWCASE),
        make(amount_msat=1, name_payee=True, description_hash="22" * 32),
        make(amount_msat=None, network="simnet", metadata="0102"),
    ]
    for text, theirs in zip(signed, decode_with_npm(*signed), strict=True):
        ours = bolt11.decode(text)
        assert theirs["paymentRequest"] == str(ours)
        assert theirs.get("millisatoshis") == (
            None if ours.amount_msat is None else str(ours.amount_msat)
        )
        assert theirs["timestamp"] == ours.timestamp
        assert theirs["payment_hash"] == ours.payment_hash
        assert theirs["payment_secret"] == ours.payment_secret
        assert theirs.get("description") == ours.description
        assert theirs.get("purpose_commit_hash") == ours.description_hash
        assert theirs.get("expire_time", 3600) == ours.expiry
        assert theirs.get("min_final_cltv_expiry", 18) == ours.min_final_cltv_expiry
        assert theirs["payeeNodeKey"] == ours.payee == PAYEE
        assert theirs["signature"] == ours.signature[:128]
        assert [
            (f["code"], f["address"]) for f in [theirs.get("fallback_address")] if f
        ] == [(f.version, f.address) for f in ours.fallbacks]
        for hop in theirs.get("routing_info", []):
            assert hop["pubkey"] == HOP.pubkey
            assert hop["fee_base_msat"] == HOP.fee_base_msat
            assert hop["cltv_expiry_delta"] == HOP.cltv_expiry_delta
