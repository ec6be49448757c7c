"""QR codes of invoices: their modules, their size, and what a scanner reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest

from aurpay_async import bolt11
from aurpay_async.bolt11._qr import make_code

from ..support.orders import sign_invoice
from ..support.qr import read_png, read_svg

if TYPE_CHECKING:
    from collections.abc import Callable

INVOICE = bolt11.decode(sign_invoice())
#: The longest invoice that fits: 4,278 characters.
LONGEST = 4_278


def rows(grey: memoryview) -> list[list[int]]:
    return cast("list[list[int]]", grey.tolist())


def modules() -> list[list[int]]:
    """Return the grey values of the invoice's code, with a border of four modules."""
    code = make_code("lightning:", INVOICE.text.upper())
    return [[0 if dark else 255 for dark in row] for row in code.matrix_iter(border=4)]


def test_qr_text_is_the_uri_with_the_invoice_alone_in_capitals() -> None:
    assert INVOICE.qr_text == f"lightning:{INVOICE.text.upper()}"
    assert bolt11.decode(INVOICE.qr_text) == INVOICE


@pytest.mark.slow
def test_svg_and_png_of_an_invoice_have_the_modules_of_its_code() -> None:
    assert rows(read_svg(INVOICE.qr_svg())) == modules()
    assert rows(read_png(INVOICE.qr_png(scale=1))) == modules()
    assert len(read_png(INVOICE.qr_png())) == 8 * len(modules())


def test_svg_of_a_qr_code_has_no_size_and_no_style_of_its_own() -> None:
    svg = INVOICE.qr_svg()
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ')
    assert 'fill="#fff"' in svg
    for attribute in (" width=", " height=", " style="):
        assert attribute not in svg


def test_invoice_in_capitals_takes_fewer_modules_than_in_small_letters() -> None:
    small, _ = make_code(INVOICE.uri).symbol_size(border=4)
    assert len(modules()) <= small - 8


@pytest.mark.slow
def test_longest_invoice_of_a_qr_code_is_as_documented() -> None:
    longest = attrs.evolve(INVOICE, text="l" * LONGEST)
    assert len(read_png(longest.qr_png(scale=1))) == 177 + 8
    longer = attrs.evolve(INVOICE, text="l" * (LONGEST + 1))
    with pytest.raises(ValueError, match="Data too large"):
        longer.qr_png()


def test_missing_segno_is_an_import_error_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    drawings: list[Callable[[], object]] = [INVOICE.qr_svg, INVOICE.qr_png]
    for draw in drawings:
        with pytest.raises(ImportError, match=r"pip install 'aurpay-async\[qr\]'"):
            draw()
    assert INVOICE.qr_text


def test_scanner_reads_the_uri_from_the_svg_and_from_the_png() -> None:
    zxingcpp: Any = pytest.importorskip("zxingcpp")  # `nox -s browser` has it
    svg = rows(read_svg(INVOICE.qr_svg()))
    lines = [bytes(grey for grey in row for _ in range(4)) * 4 for row in svg]
    picture = memoryview(b"".join(lines)).cast("B", (4 * len(svg), 4 * len(svg)))
    for grey in (picture, read_png(INVOICE.qr_png())):
        barcode = zxingcpp.read_barcode(grey)
        assert barcode is not None
        assert barcode.bytes == INVOICE.qr_text.encode()
