"""The commands that stand alone, and their arguments.

What they do is in a file of its own each, which is loaded when it is asked for.
"""

from __future__ import annotations

from ._act import act
from ._arguments import (  # noqa: TC001 - read by cyclopts
    AmountStyle,
    Flag,
    InvoiceText,
    NetworkName,
    Output,
    Port,
    Several,
    described,
)


@described(
    """\
    Make an order on this machine, check it, pay it, and confirm its callback.

    Needs no account and no network, and moves no money.

    ```console
    $ aurpay demo
    ```

    Args:
        output: Lines for people, or JSON for programs.
    """
)
def demo(*, output: Output = "text") -> int:
    from ._demo import run_demo

    return act(output, run_demo)


@described(
    """\
    Serve a local Aurpay on loopback until Ctrl-C.

    Callbacks are signed with AURPAY_CALLBACK_TOKEN and AURPAY_CALLBACK_SECRET if they
    are set, else with made-up ones. Keys that look live are refused.

    ```console
    $ aurpay sandbox --port 8765
    $ aurpay sandbox --db orders.db --speed 60
    $ aurpay sandbox --seed 7 --start 2026-01-01T12:00:00Z --rate USD=65000
    $ aurpay sandbox --auth-from-env --post-callbacks
    ```

    Args:
        port: On which port to listen; 0 takes a free one.
        host: Where to listen: a name or an address of this machine.
        allow_remote: Allow a host that other machines can reach. Whoever can reach it
            can pay orders.
        db: Keep everything in this file: a sandbox that is stopped or killed goes on
            from there.
        seed: Make ids, secrets and invoices the same in every run that begins at the
            same time.
        start: Begin at this time, and stand still: only POST /_sandbox/clock moves it.
            ISO 8601, without a zone UTC.
        speed: How often faster than Aurpay orders time out: 1 is after 30 minutes, 60
            after 30 seconds, 0 never.
        rate: What one bitcoin costs, like USD=65000; may be repeated.
        amounts: How answers write BTC amounts: Aurpay does both.
        post_callbacks: Send callbacks as POST with the order in the body.
        api_key_in_callbacks: Send callbacks with the API key that their order was
            created with, and not only where Aurpay documents it.
        callback_host: Send callbacks to this host as well; may be repeated.
        allowed_host: Answer to this name as well, such as the service name in a network
            of containers; may be repeated.
        public_url: The origin of a proxy before the sandbox, such as
            https://sandbox.example: checkout pages are there.
        auth_from_env: Refuse requests without the credentials of the environment:
            AURPAY_API_KEY, or AURPAY_API_TOKEN and AURPAY_API_SECRET.
        ask: Ask for the callback token and secret that the environment lacks.
        output: Lines for people, or JSON for programs.
    """
)
def sandbox(
    *,
    port: Port = 0,
    host: str = "127.0.0.1",
    allow_remote: Flag = False,
    db: str | None = None,
    seed: int | None = None,
    start: str | None = None,
    speed: float = 1,
    rate: Several = (),
    amounts: AmountStyle = "string",
    post_callbacks: Flag = False,
    api_key_in_callbacks: Flag = False,
    callback_host: Several = (),
    allowed_host: Several = (),
    public_url: str | None = None,
    auth_from_env: Flag = False,
    ask: Flag = False,
    output: Output = "text",
) -> int:
    from ._sandbox import Wishes, serve_sandbox

    wishes = Wishes(
        port=port,
        host=host,
        allow_remote=allow_remote,
        amounts=amounts,
        post_callbacks=post_callbacks,
        api_key_in_callbacks=api_key_in_callbacks,
        callback_hosts=callback_host,
        allowed_hosts=allowed_host,
        public_url=public_url,
        rates=rate,
        speed=speed,
        start=start,
        seed=seed,
        db=db,
        auth_from_env=auth_from_env,
        ask=ask,
    )
    return act(output, lambda screen: serve_sandbox(screen, wishes))


@described(
    """\
    Read an invoice: what it says, and which rules of BOLT #11 it keeps.

    Ends with 1 if it breaks a rule.

    ```console
    $ aurpay decode lnbc2500u1pvjluez...
    $ wl-paste | aurpay decode -
    ```

    Args:
        invoice: The invoice, with or without `lightning:`; - reads standard input.
        output: Lines for people, or JSON for programs.
    """
)
def decode(invoice: InvoiceText, /, *, output: Output = "text") -> int:
    from ._decode import decode_invoice

    return act(output, lambda screen: decode_invoice(screen, invoice))


@described(
    """\
    Hold an invoice against what was expected, as the client does.

    Ends with 1 if it does not fit.

    ```console
    $ aurpay verify lnbc100u1... --amount 0.0001
    $ aurpay verify - --amount-msat 10000000 --network regtest --payee 03e7156a...
    ```

    Args:
        invoice: The invoice, with or without `lightning:`; - reads standard input.
        amount: What it has to ask for, in BTC.
        amount_msat: The same in millisatoshi.
        network: The network it has to be for. [default: AURPAY_NETWORK, or mainnet]
        payee: The public key that it has to pay; may be given several times.
        output: Lines for people, or JSON for programs.
    """
)
def verify(
    invoice: InvoiceText,
    /,
    *,
    amount: str | None = None,
    amount_msat: int | None = None,
    network: NetworkName | None = None,
    payee: Several = (),
    output: Output = "text",
) -> int:
    from ._verify import Expected, verify_invoice

    expected = Expected(amount, amount_msat, network, payee)
    return act(output, lambda screen: verify_invoice(screen, invoice, expected))


@described(
    """\
    Look at everything that a payment needs, and say what to do.

    The report holds no key, token or secret, so that it can be pasted into an issue.
    It speaks to AURPAY_BASE_URL, and to nobody else. Ends with 1 if there is a problem.

    ```console
    $ aurpay doctor
    $ AURPAY_BASE_URL=http://127.0.0.1:8765 aurpay doctor
    ```

    Args:
        output: Lines for people, or JSON for programs.
    """
)
def doctor(*, output: Output = "text") -> int:
    from ._doctor import examine

    return act(output, examine)
