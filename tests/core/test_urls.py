"""URLs: one strict grammar, and errors that say what to write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async._core.urls import (
    UrlError,
    format_origin,
    parse_origin,
    require_secure,
    without_query,
)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://shop.example", ("https", "shop.example", 443)),
        ("https://shop.example/", ("https", "shop.example", 443)),
        ("HTTPS://Shop.Example/Paid?A=B#c", ("https", "shop.example", 443)),
        ("https://shop.example:8443?x", ("https", "shop.example", 8443)),
        ("https://shop.example#/cashier/1", ("https", "shop.example", 443)),
        ("http://127.0.0.1:8080/a", ("http", "127.0.0.1", 8080)),
        ("http://[::1]/", ("http", "[::1]", 80)),
        ("https://a_b.example-1.co/ü?ö=ä", ("https", "a_b.example-1.co", 443)),
        ("https://shop.example./", ("https", "shop.example.", 443)),
        ("https://x/" + "y" * 2038, ("https", "x", 443)),
    ],
)
def test_an_origin_is_scheme_host_and_port_in_lower_case(
    url: str, origin: tuple[str, str, int]
) -> None:
    assert parse_origin(url) == origin


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "absolute"),
        ("/paid", "absolute"),
        ("shop.example/paid", "absolute"),
        ("//shop.example/paid", "absolute"),
        ("://shop.example", "absolute"),
        ("https:/shop.example", "absolute"),
        ("https:shop.example", "absolute"),
        ("ftp://shop.example/", "must be https"),
        ("javascript://shop.example/%0aalert(1)", "must be https"),
        ("https://", "no valid host"),
        ("https:///paid", "no valid host"),
        ("https://?x", "no valid host"),
        ("https://:443/", "no valid host"),
        ("https://-a/", "no valid host"),
        ("https://.a/", "no valid host"),
        ("https://[::1/", "no valid host"),
        ("https://a%2eb/", "no valid host"),
        ("https://a..b/", "no valid host"),
        ("https://a-.b/", "no valid host"),
        ("https://a../", "no valid host"),
        ("https://[::::]/", "not an IP address"),
        ("https://[1]/", "not an IP address"),
        ("https://256.1.1.1/", "not an IP address"),
        ("https://2130706433/", "not an IP address"),
        ("https://a.1/", "not an IP address"),
        ("https://127.0.0.1./", "not an IP address"),
        ("https://0x7f.1/", "not an IP address"),
        ("https://a:b/", "no valid host"),
        ("https://a:/", "no valid host"),
        ("https://a:123456/", "no valid host"),
        ("https://a:0/", "no port 0"),
        ("https://a:65536/", "no port 65536"),
        ("https://user@shop.example/", "contains userinfo"),
        ("https://user:pass@shop.example/", "contains userinfo"),
        ("https://dashboard.aurpay.net@evil.example/", "contains userinfo"),
        ("https://shop.example\\@evil.example/", "backslash"),
        ("https://shop.example/a\\b", "backslash"),
        ("https://shop.example/a b", "blank or an invisible"),
        (" https://shop.example/", "blank or an invisible"),
        ("https://shop.example/\n", "blank or an invisible"),
        ("https://shop.example/\t", "blank or an invisible"),
        ("https://shop.example/\x00", "blank or an invisible"),
        ("https://shop.example/\u00a0", "blank or an invisible"),
        ("https://shop.example/\u202eexe", "blank or an invisible"),
        ("https://shop.example/\u200b", "blank or an invisible"),
        ("https://shop.example/\ud800", "blank or an invisible"),
        ("https://x/" + "y" * 2039, "2048 characters"),
        ("https://münchen.example/", "write xn--mnchen-3ya.example"),
        ("https://München.Example:8443/", "write xn--mnchen-3ya.example for"),
        # IDNA 2003, Python's codec, maps these to other hosts.
        ("https://straße.example/", "write xn--strae-oqa.example"),
        ("https://faß.de/", "write xn--fa-hia.de"),
        ("https://βόλος.com/", "write xn--nxasmm1c.com"),
        # These are not valid names, or are mapped to other names.
        ("https://ſhop.example/", "must be ASCII, not"),
        ("https://ΒΌΛΟΣ.com/", "must be ASCII, not"),
        ("https://STRASSE.ẞ.example/", "must be ASCII, not"),
        ("https://ｅxample.com/", "must be ASCII, not"),
        ("https://日本。jp/", "must be ASCII, not"),
        ("https://e\u0301.example/", "must be ASCII, not"),
        ("https://xn--a.ü/", "must be ASCII, not"),
        ("https://ü..example/", "must be ASCII, not"),
        ("https://ü_.example/", "must be ASCII, not"),
        ("https://\uff0eexample/", "must be ASCII"),
        ("https://shop\uff0fevil.example/", "must be ASCII, not"),
    ],
)
def test_a_url_about_which_parsers_disagree_is_rejected(url: str, problem: str) -> None:
    with pytest.raises(UrlError, match=problem):
        parse_origin(url)


def test_an_error_about_a_url_does_not_contain_its_query() -> None:
    with pytest.raises(UrlError) as caught:
        parse_origin("https://shop.example/a b?token=canary")
    assert "canary" not in str(caught.value)
    assert without_query("https://a/b?c=d") == "https://a/b"
    assert without_query("https://a/b#c=d?e") == "https://a/b"
    assert without_query("https://user:canary@a/b") == "...@a/b"
    for url in ("https://user:canary@a/b c", "user:canary@a"):
        with pytest.raises(UrlError) as caught:
            parse_origin(url)
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://x", "http://localhost:1", "http://127.9.9.9/", "http://[::1]:1/"]
)
def test_https_and_loopback_are_accepted_as_secure(url: str) -> None:
    require_secure(parse_origin(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example",
        "http://localhost.example/",
        "http://127.0.0.1.example/",
        "http://128.0.0.1/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://[::2]/",
    ],
)
def test_plain_http_to_another_machine_is_rejected(url: str) -> None:
    with pytest.raises(UrlError, match="https://"):
        require_secure(parse_origin(url))


@pytest.mark.parametrize(
    "url",
    ["https://shop.example", "https://shop.example:8443", "http://127.0.0.1:8080"],
)
def test_an_origin_is_formatted_without_the_default_port(url: str) -> None:
    assert format_origin(parse_origin(url)) == url


@given(st.text())
def test_any_string_is_a_url_or_rejected_with_a_printable_error(text: str) -> None:
    for url in (text, f"https://{text}", f"https://shop.example{text}"):
        try:
            _, host, port = parse_origin(url)
        except UrlError as error:
            assert str(error).isascii()
            assert str(error).isprintable()
        else:
            assert host.isascii()
            assert host == host.lower()
            assert 0 < port < 65536
