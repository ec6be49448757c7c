"""Names of the package root that are imported on first access."""

from __future__ import annotations

import pickle

import aurpay_async
from aurpay_async import Page, PaymentUrl, bolt11
from aurpay_async._api import models

from .test_house import run_python


def test_rarely_used_records_are_imported_on_first_access() -> None:
    code = """
import sys, aurpay_async as root
late = {"_api.orders", "_api.payment_models", "_client.lost_orders", "_client.polling"}
print(*sorted(name for name in late if f"aurpay_async.{name}" in sys.modules))
from aurpay_async import Refund, Transaction
print(root.Refund is Refund, Refund.__module__, set(root.__all__) <= set(dir(root)))
"""
    assert run_python(code) == "\nTrue aurpay_async._api.payment_models True\n"


def test_every_lazy_name_is_public_and_can_be_imported() -> None:
    for name in aurpay_async._LAZY:  # type: ignore[attr-defined]
        assert name in aurpay_async.__all__
        assert getattr(aurpay_async, name).__name__ == name
    assert set(aurpay_async.__all__) <= set(dir(aurpay_async))
    assert aurpay_async.__getattr__("bolt11") is bolt11
    assert not hasattr(models, "PaymentUrl")


def test_lazy_records_can_be_pickled() -> None:
    page: Page[str] = Page(page=1, size=1, total=0, max_page=0, items=())
    assert pickle.loads(pickle.dumps(page)) == page  # noqa: S301 - our own
    assert pickle.loads(pickle.dumps(PaymentUrl)) is PaymentUrl  # noqa: S301
