"""What the root shows and few programs need: loaded when somebody asks for it."""

from __future__ import annotations

import pickle

import aurpay_async
from aurpay_async import Page, PaymentUrl, _models, bolt11

from .test_house import python


def test_records_that_few_programs_need_are_loaded_when_asked_for() -> None:
    """By attribute and by import, as the very class that the methods give."""
    code = """
import sys, aurpay_async as root
late = {"_lost", "_paging", "_protocol", "_models._payments", "_models._refunds"}
print(*sorted(name for name in late if f"aurpay_async.{name}" in sys.modules))
from aurpay_async import Refund, Transaction
print(root.Refund is Refund, Refund.__module__, set(root.__all__) <= set(dir(root)))
"""
    assert python(code) == "\nTrue aurpay_async._models._refunds True\n"


def test_all_of_them_are_there() -> None:
    """Each in the window; each to be asked for by name."""
    for name in aurpay_async._LAZY:  # type: ignore[attr-defined]
        assert name in aurpay_async.__all__
        assert getattr(aurpay_async, name).__name__ == name
    assert set(aurpay_async.__all__) <= set(dir(aurpay_async))
    assert aurpay_async.__getattr__("bolt11") is bolt11
    assert not hasattr(_models, "PaymentUrl")


def test_they_travel() -> None:
    """To another process, where nobody has asked for them."""
    page: Page[str] = Page(page=1, size=1, total=0, max_page=0, items=())
    assert pickle.loads(pickle.dumps(page)) == page  # noqa: S301 - our own
    assert pickle.loads(pickle.dumps(PaymentUrl)) is PaymentUrl  # noqa: S301
