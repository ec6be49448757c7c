"""CallbackVerifier: the documented signature, and rejected requests."""

from __future__ import annotations

import json
import pickle
import traceback
from collections import UserDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aurpay_async._core.secrets import Secret
from aurpay_async.callbacks import MAX_BODY, CallbackEvent, CallbackVerifier
from aurpay_async.callbacks._identity import ReferenceSigner
from aurpay_async.errors import (
    CallbackError,
    CallbackReferenceError,
    CallbackSignatureError,
    CallbackStaleError,
    ConfigurationError,
)
from aurpay_async.testing import FakeClock, sign_callback

from ..conftest import examples, load
from .samples import DATE, KEY, NOW, SECRET, TOKEN, reference, signed, url, verifier
from .test_processor import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = url()
VECTORS = load("aurpay.json")["signature_vectors"]["callback"]
BODY: dict[str, Any] = load("aurpay.json")["callback_post_body"]["example"]


def verify(**changes: Any) -> CallbackEvent:
    """Verify a request of Aurpay with these changes."""
    request: dict[str, Any] = {"method": "GET", "url": URL, "headers": signed(URL)}
    options = changes.pop("options", {})
    return verifier(**options).verify(**{**request, **changes})


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_documented_signature_vectors_are_verified(vector: dict[str, str]) -> None:
    date = datetime(2024, 6, 17, tzinfo=UTC)
    event = CallbackVerifier(
        secrets=[vector["callback_secret"]], clock=FakeClock(date)
    ).verify(
        method="GET",
        url=vector["callback_url"],
        headers={"Date": vector["date"], "Signature": vector["expected_signature"]},
    )
    assert event == CallbackEvent(
        kind=None, token=None, signed_at=date, order_hint=None, secret_index=0
    )
    assert event.reference is None
    headers = sign_callback(
        vector["callback_url"], secret=vector["callback_secret"], now=date
    )
    assert headers["Signature"] == vector["expected_signature"]


def test_event_has_kind_reference_and_time_of_the_signature() -> None:
    event = verify()
    assert (event.kind, event.reference) == ("paid", "cart-42")
    assert event.token == reference()
    assert (event.signed_at, event.secret_index) == (NOW, 0)
    assert event.order_hint is None


@pytest.mark.parametrize(
    "headers",
    [
        list(signed(URL).items()),
        [(k.encode(), v.encode()) for k, v in signed(URL).items()],
        {k.lower(): v for k, v in signed(URL).items()},
        {k.upper(): v for k, v in signed(URL).items()},
        CIMultiDict(signed(URL)),
        UserDict(signed(URL)),
        {**signed(URL), "X-Other": "gr\xfcn", "x-other": ""},
    ],
    ids=lambda headers: type(headers).__name__,
)
def test_headers_of_every_framework_are_accepted(headers: Any) -> None:
    assert verify(headers=headers).reference == "cart-42"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Signature": None}, "no Signature"),
        ({"Date": None}, "no Date"),
        ({"Callback-Token": None}, "no Callback-Token"),
        ({"Signature": ""}, "Signature is empty"),
        ({"Signature": "gr\xfcn"}, "not plain ASCII"),
        ({"Signature": "x" * 513}, "over 512"),
        ({"Date": "\x00"}, "Date is empty"),
    ],
)
def test_missing_or_malformed_header_is_named_in_the_error(
    changes: dict[str, Any], problem: str
) -> None:
    headers = {k: v for k, v in {**signed(URL), **changes}.items() if v is not None}
    with pytest.raises(CallbackSignatureError, match=problem) as caught:
        verify(headers=headers)
    assert caught.value.rule == "headers"


@pytest.mark.parametrize("name", ["Callback-Token", "Date", "Signature"])
def test_repeated_header_is_rejected(name: str) -> None:
    headers = signed(URL)
    with pytest.raises(CallbackSignatureError, match="has two"):
        verify(headers=[*headers.items(), (name.lower(), headers[name])])


@pytest.mark.parametrize("headers", [7, ["text"], [("a",)], {1: "x"}, [("a", None)]])
def test_value_that_is_no_headers_is_rejected_as_callback_error(headers: Any) -> None:
    with pytest.raises(CallbackSignatureError, match="neither a mapping"):
        verify(headers=headers)


@pytest.mark.parametrize(
    "signature",
    [
        signed(URL)["Signature"][:-1],
        signed(URL)["Signature"] + "=",
        signed(URL)["Signature"].replace("=", ""),
        signed(URL)["Signature"].swapcase(),
        " ".join(signed(URL)["Signature"]),
        "A" * 43 + "=",
        "AAAA",
        "A" * 44,
        "-_" + signed(URL)["Signature"][2:],
    ],
)
def test_malformed_signature_is_rejected(signature: str) -> None:
    with pytest.raises(CallbackSignatureError) as caught:
        verify(headers={**signed(URL), "Signature": signature})
    assert caught.value.rule == "signature"


def test_signature_of_another_url_date_or_secret_is_rejected() -> None:
    for headers in (
        signed(URL.replace("shop", "shop2")),
        signed(URL + "&x=1"),
        {**signed(URL), "Date": "2026-01-01T00:00:01Z"},
        signed(URL, secret="sandbox-other-secret"),
    ):
        with pytest.raises(CallbackSignatureError) as caught:
            verify(headers=headers)
        assert caught.value.rule == "signature"
        assert "https://shop.example/aurpay" in str(caught.value)


@examples(15)
@given(st.data())
def test_forged_callback_is_always_rejected(data: st.DataObject) -> None:
    text = st.text(max_size=60)
    request: dict[str, Any] = {
        "method": data.draw(st.sampled_from(["GET", "POST"]) | text),
        "url": data.draw(st.just(URL) | text),
        "headers": data.draw(
            st.dictionaries(
                st.sampled_from(["Date", "Signature", "Callback-Token", "X"]), text
            )
            | st.lists(st.tuples(st.just("Date"), text))
        ),
        "body": data.draw(st.binary(max_size=60)),
    }
    with pytest.raises(CallbackError):
        verifier().verify(**request)


def test_both_secrets_are_accepted_during_key_rotation() -> None:
    options = {"secrets": [Secret("sandbox-new-secret"), SECRET, SECRET]}
    assert verify(options=options).secret_index == 1
    headers = signed(URL, secret="sandbox-new-secret")
    assert verify(options=options, headers=headers).secret_index == 0


def test_callback_token_is_checked_if_any_is_configured() -> None:
    assert verify(options={"tokens": ["sandbox-new", TOKEN]}).reference == "cart-42"
    assert verify(options={"tokens": []}).reference == "cart-42"
    with pytest.raises(CallbackSignatureError, match="none of the") as caught:
        verify(options={"tokens": ["sandbox-new"]})
    assert caught.value.rule == "token"


def test_token_only_verifies_token_and_date() -> None:
    simple = CallbackVerifier.token_only(
        tokens=[TOKEN], reference_key=KEY, clock=FakeClock(NOW)
    )
    headers = {"Callback-Token": TOKEN, "Date": DATE}
    event = simple.verify(method="GET", url=URL, headers=headers)
    assert (event.reference, event.secret_index) == ("cart-42", None)
    for wrong in ({}, {"Callback-Token": "x", "Date": DATE}, {"Callback-Token": TOKEN}):
        with pytest.raises(CallbackSignatureError):
            simple.verify(method="GET", url=URL, headers=wrong)


@pytest.mark.parametrize(
    ("offset", "good"), [(300, True), (301, False), (-300, True), (-301, False)]
)
def test_request_older_or_newer_than_the_tolerance_is_rejected(
    offset: int, good: bool
) -> None:
    clock = FakeClock(NOW + timedelta(seconds=offset))
    if good:
        assert verify(options={"clock": clock}).signed_at == NOW
        return
    with pytest.raises(CallbackStaleError, match=r"301 s (old|ahead)") as caught:
        verify(options={"clock": clock})
    assert caught.value.rule == "age"


@pytest.mark.parametrize(
    "date",
    [
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T01:00:00+01:00",
        "2025-12-31T23:59:59.5-00:00",
    ],
)
def test_iso_8601_dates_with_a_zone_are_accepted(date: str) -> None:
    event = verify(headers=signed(URL, date))
    assert abs(event.signed_at - NOW) < timedelta(seconds=1)
    assert event.signed_at.tzinfo is UTC


@pytest.mark.parametrize(
    "date",
    [
        "2026-01-01T00:00:00",
        "2026-01-01",
        "Thu, 01 Jan 2026 00:00:00 GMT",
        "2026-02-30T00:00:00Z",
        "20260101T000000Z",
        "2026-W01-4T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "1767225600",
    ],
)
def test_other_date_formats_are_rejected_even_if_signed(date: str) -> None:
    with pytest.raises(CallbackStaleError, match="must be like 2024") as caught:
        verify(headers=signed(URL, date))
    assert caught.value.rule == "date"


def test_clock_may_have_another_time_zone() -> None:
    class Elsewhere:
        def now(self) -> datetime:
            return NOW.astimezone(timezone(timedelta(hours=9)))

    assert verify(options={"clock": Elsewhere()}).signed_at == NOW


@pytest.mark.parametrize("method", ["PUT", "HEAD", "get", "", "GET\r\n", None])
def test_methods_other_than_get_and_post_are_rejected(method: Any) -> None:
    with pytest.raises(CallbackError, match="the method is") as caught:
        verify(method=method)
    assert caught.value.rule == "method"


@pytest.mark.parametrize(
    "other",
    [
        None,
        b"https://shop.example/",
        "",
        "/aurpay?id=1",
        "shop.example/aurpay",
        "https://shop.example/a b",
        "https://shop.example/gr\xfcn",
        "https://shop.example/\n",
        "https://shop.example/" + "a" * 2048,
    ],
)
def test_partial_or_decoded_url_is_rejected_with_a_hint(other: Any) -> None:
    with pytest.raises(CallbackError, match="whole one that was registered") as caught:
        verify(url=other)
    assert caught.value.rule == "url"


def test_kind_of_the_route_must_be_the_kind_of_the_reference() -> None:
    assert verify(kind="paid").kind == "paid"
    with pytest.raises(CallbackReferenceError, match="called as 'timeout'"):
        verify(kind="timeout")
    timeout = url(kind="timeout")
    event = verify(url=timeout, headers=signed(timeout), kind="timeout")
    assert event.kind == "timeout"


def test_verifier_without_reference_key_takes_the_kind_from_the_caller() -> None:
    options = {"reference_key": None}
    assert verify(options=options, kind="timeout").kind == "timeout"
    hint = verify(options=options, method="POST", body=b'{"vs_price": 1}').order_hint
    assert hint is not None


def test_reference_signed_with_another_key_is_rejected() -> None:
    with pytest.raises(CallbackReferenceError, match="another reference_key"):
        verify(options={"reference_key": ["sandbox-other-reference-key"]})


def verify_post(body: bytes) -> CallbackEvent:
    return verify(method="POST", body=body)


def test_documented_body_is_parsed_as_an_unsigned_hint() -> None:
    body = {**BODY, "vs_price": "20.0"}
    hint = verify_post(json.dumps(body).encode()).order_hint
    assert hint is not None
    assert hint.order_id == "20250207040935220628"
    assert hint.status == "PENDING"
    assert hint.amount == Decimal("0.00102549")
    assert hint.fields == body
    assert "mct-bea5c44da875" not in repr(hint)


def test_missing_or_mistyped_fields_of_a_body_are_none() -> None:
    hint = verify_post(b'{"status": 7, "amount": "x", "order_id": ["1"]}').order_hint
    assert hint is not None
    assert (hint.order_id, hint.status, hint.amount) == (None, None, None)
    assert verify_post(b"").order_hint is None
    assert verify(body=b"not even JSON").order_hint is None


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"[]",
        b'{"amount": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": ' * 5000,
        b"\xff\xfe",
        b'{"order_id": "1"',
        b" " * (MAX_BODY + 1),
        "{}",
    ],
)
def test_malformed_body_is_rejected_under_a_valid_signature(body: Any) -> None:
    with pytest.raises(CallbackError) as caught:
        verify_post(body)
    assert caught.value.rule == "body"


@pytest.mark.parametrize(
    "fields", [{"vs_price": "20.01"}, {"vs_price": "x"}, {"vs_currency": "EUR"}]
)
def test_body_with_another_price_or_currency_is_rejected(
    fields: dict[str, str],
) -> None:
    with pytest.raises(CallbackReferenceError, match="names another") as caught:
        verify_post(json.dumps(fields).encode())
    assert caught.value.rule == "order"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"secrets": []}, "secrets must have at least one"),
        ({"secrets": [""]}, "secrets has an empty value"),
        ({"secrets": ["gr\xfcn"]}, "not plain ASCII"),
        ({"secrets": "sandbox-secret"}, "must be a list"),
        ({"secrets": [7]}, "must be str, not int"),
        ({"tokens": ["x", " "]}, "tokens has an empty value"),
        ({"reference_key": ""}, "reference_key must have"),
        ({"tolerance": 300}, "tolerance must be"),
        ({"tolerance": timedelta(0)}, "tolerance must be"),
    ],
)
def test_verifier_rejects_invalid_arguments(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        verifier(**options)


def test_verifier_is_created_from_environment_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(NOW)
    for name, value in (("SECRET", SECRET), ("TOKEN", ""), ("REFERENCE_KEY", "")):
        prefix = "AURPAY_" if name == "REFERENCE_KEY" else "AURPAY_CALLBACK_"
        monkeypatch.setenv(prefix + name, value)
    plain = CallbackVerifier.from_env(clock=clock)
    headers = {k: v for k, v in signed(URL).items() if k != "Callback-Token"}
    event = plain.verify(method="GET", url=URL, headers=headers)
    assert (event.reference, plain.reads_references) == (None, False)
    monkeypatch.setenv("AURPAY_CALLBACK_TOKEN", TOKEN)
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", KEY)
    whole = CallbackVerifier.from_env(clock=clock, tolerance=timedelta(minutes=1))
    event = whole.verify(method="GET", url=URL, headers=signed(URL))
    assert event.reference == "cart-42"
    with pytest.raises(CallbackSignatureError, match="no Callback-Token"):
        whole.verify(method="GET", url=URL, headers=headers)


def test_environment_variables_hold_several_values_during_key_rotation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old_key = "sandbox-reference-key-of-last-year"
    monkeypatch.setenv("AURPAY_CALLBACK_SECRET", f"made-up-new {SECRET}")
    monkeypatch.setenv("AURPAY_CALLBACK_TOKEN", f" made-up-new  {TOKEN}\n")
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", f"{old_key} {KEY}")
    both = CallbackVerifier.from_env(clock=FakeClock(NOW))
    event = both.verify(method="GET", url=URL, headers=signed(URL))
    assert (event.reference, event.secret_index) == ("cart-42", 1)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("AURPAY_CALLBACK_SECRET", "", "is not set; Aurpay's dashboard has it"),
        ("AURPAY_CALLBACK_SECRET", " ", "is not set; Aurpay's dashboard has it"),
        ("AURPAY_CALLBACK_SECRET", "canary-\xe4", "has an empty value, or one"),
        ("AURPAY_CALLBACK_TOKEN", "right canary\x7f", "has an empty value, or one"),
        ("AURPAY_REFERENCE_KEY", "canary", "must have 16 characters"),
        (
            "AURPAY_REFERENCE_KEY",
            f"{KEY} canary",
            "has 2 values, separated by blanks; one of them must have 16 characters",
        ),
    ],
)
def test_invalid_environment_variable_is_named_and_not_quoted(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_CALLBACK_SECRET", SECRET)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name} {problem}") as caught:
        CallbackVerifier.from_env()
    assert "canary" not in str(caught.value)


def test_token_only_requires_a_token() -> None:
    with pytest.raises(ConfigurationError, match="tokens must have"):
        CallbackVerifier.token_only(tokens=[])
    with pytest.raises(ConfigurationError, match="must be a list"):
        CallbackVerifier.token_only(tokens="sandbox-token")


CANARY = "canary-3b9d"


def test_no_secret_appears_in_repr_errors_or_frames() -> None:
    strict = verifier(secrets=[f"{CANARY}-secret"], tokens=[f"{CANARY}-token"])
    assert CANARY not in repr(strict)
    right = signed(URL, secret=f"{CANARY}-secret")["Signature"]
    good = {"Callback-Token": f"{CANARY}-token", "Date": DATE, "Signature": right}
    old = signed(URL, "2025-01-01T00:00:00Z", f"{CANARY}-secret")
    for headers in (
        {**good, "Callback-Token": "wrong"},
        {**good, "Signature": signed(URL)["Signature"]},
        {**old, "Callback-Token": f"{CANARY}-token"},
        [*good.items(), *good.items()],
    ):
        with pytest.raises(CallbackError) as caught:
            strict.verify(method="GET", url=URL, headers=headers)
        for frame, _ in traceback.walk_tb(caught.value.__traceback__):
            if frame.f_code.co_filename != __file__:
                shown = repr(frame.f_locals)
                assert CANARY not in shown, frame.f_code.co_qualname
                assert right not in shown, frame.f_code.co_qualname
                assert old["Signature"] not in shown, frame.f_code.co_qualname


def test_reference_key_is_hidden_and_not_picklable() -> None:
    holder = verifier(reference_key=f"{CANARY}-reference-key")
    references = holder._references
    assert holder.verify(method="GET", url=URL_OF_CANARY, headers=SIGNED_CANARY).token
    assert CANARY not in repr([references, list(walk_fields(holder))])
    for held in (holder, references):
        with pytest.raises(TypeError, match="a secret cannot be pickled"):
            pickle.dumps(held)


def walk_fields(thing: object) -> Iterator[object]:
    """Yield the objects in the fields of `thing`, at any depth."""
    yield thing
    if isinstance(thing, list | tuple):
        for each in thing:
            yield from walk_fields(each)
    for value in getattr(thing, "__dict__", {}).values():
        yield from walk_fields(value)


URL_OF_CANARY = ReferenceSigner(f"{CANARY}-reference-key").attach(
    "https://shop.example/paid", reference()
)
SIGNED_CANARY = signed(URL_OF_CANARY)


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("method", {"method": "PUT"}),
        ("unsigned", {"headers": {}}),
        ("headers", {"headers": [*signed(URL).items(), *signed(URL).items()]}),
        ("url", {"url": f"/paid?token={CANARY}"}),
        ("token", {"headers": {**signed(URL), "Callback-Token": "other"}}),
        ("signature", {}),
        ("date", {"date": "yesterday"}),
        ("age", {"date": "2025-01-01T00:00:00Z"}),
        ("reference", {"url": f"https://shop.example/paid?token={CANARY}"}),
        ("kind", {"kind": "timeout"}),
        ("body", {"method": "POST", "body": f'"{CANARY}"'.encode()}),
        ("order", {"method": "POST", "body": b'{"vs_price": 1, "x": "canary-3b9d"}'}),
    ],
)
@pytest.mark.parametrize("how", ["verify", "process"])
async def test_no_frame_of_a_rejection_has_the_query(
    rule: str, changes: dict[str, Any], how: str
) -> None:
    target = url().replace("id=a%2Fb", f"token={CANARY}")
    request = {"method": "GET", "url": target, **changes}
    date = request.pop("date", DATE)
    if rule != "signature":
        request.setdefault("headers", signed(request["url"], date))
    request.setdefault("headers", signed(URL))
    if how == "verify":
        with pytest.raises(CallbackError) as caught:
            verifier().verify(**request)
        error: BaseException = caught.value
    else:
        shop = Shop()
        await shop.processor.process(**request)
        (error,) = shop.rejections
    assert getattr(error, "rule", None) == rule
    assert CANARY not in str(error)
    assert error.__cause__ is error.__context__ is None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__:
            assert CANARY not in repr(frame.f_locals), frame.f_code.co_qualname


def test_no_secret_appears_if_another_one_is_invalid() -> None:
    for options in (
        {"secrets": [CANARY, ""]},
        {"tokens": [CANARY, ""]},
        {"reference_key": CANARY},
        {"secrets": [CANARY], "tolerance": 0},
    ):
        with pytest.raises(ConfigurationError) as caught:
            verifier(**options)
        with pytest.raises(ConfigurationError) as simple:
            CallbackVerifier.token_only(tokens=[CANARY, ""], reference_key=CANARY)
        for error in (caught.value, simple.value):
            assert CANARY not in str(error)
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if "tests" not in frame.f_code.co_filename:
                    assert CANARY not in repr(frame.f_locals)
