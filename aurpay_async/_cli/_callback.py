"""The commands about callbacks, and their arguments."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive

from ._act import act
from ._arguments import Flag, Output, Port, described  # noqa: TC001 - read by cyclopts

#: One or the other.
_KIND: Final = Group("Which callback", validator=mutually_exclusive)


@described(
    """\
    Send one signed callback to a shop, and show what it answers.

    Token and secret are AURPAY_CALLBACK_TOKEN and AURPAY_CALLBACK_SECRET, or are asked
    for. Ends with 1 unless the shop answers 2xx.

    ```console
    $ aurpay callback send 'http://127.0.0.1:8000/paid?id=32'
    $ aurpay callback send 'http://127.0.0.1:8000/paid?id=32' --stale
    ```

    Args:
        url: The whole URL to call, query included, as it was registered with an order.
        registered: The URL to sign, if the shop was registered under another one.
        paid: The callback of a payment, as if nothing is said. A GET tells by its URL
            alone which it is.
        timeout: The callback of a timeout.
        post: POST, with a body that says which it is; the body is not signed.
        order_id: The order that this body names.
        duplicate: Send it twice, byte for byte.
        stale: Date it ten minutes back, and sign that.
        bad_signature: Sign it with another secret.
        unsigned: Leave out Callback-Token, Date and Signature.
        api_key: Add an Api-Key header, which proves nothing: AURPAY_API_KEY, or a
            made-up key.
        anywhere: Allow a shop that is not on this machine; by https only.
        output: Lines for people, or JSON for programs.
    """
)
def send(
    url: str,
    /,
    *,
    registered: str | None = None,
    paid: Annotated[Flag, Parameter(group=_KIND)] = False,  # noqa: ARG001 - the default
    timeout: Annotated[Flag, Parameter(group=_KIND)] = False,
    post: Flag = False,
    order_id: str | None = None,
    duplicate: Flag = False,
    stale: Flag = False,
    bad_signature: Flag = False,
    unsigned: Flag = False,
    api_key: Flag = False,
    anywhere: Flag = False,
    output: Output = "text",
) -> int:
    from ._callback_send import Call, send_callback

    call = Call(
        url=url,
        registered=registered,
        kind="timeout" if timeout else "paid",
        order_id=order_id,
        post=post,
        duplicate=duplicate,
        stale=stale,
        bad_signature=bad_signature,
        unsigned=unsigned,
        api_key=api_key,
    )
    return act(output, lambda screen: send_callback(screen, call, anywhere=anywhere))


@described(
    """\
    Run a sandbox, hand its callbacks on to a shop, and show them.

    The shop makes its orders in this sandbox (AURPAY_BASE_URL), with callback URLs of
    this listener, and has the listener's address as its `public_base_url`: what is
    signed is the URL as it was registered. Path, query, headers and body are handed
    on as they come. Until Ctrl-C.

    ```console
    $ aurpay callback listen --forward-to http://127.0.0.1:8000 --port 9000
    ```

    Args:
        forward_to: Where the shop is, on this machine: scheme, host and port.
        port: Where callbacks come in; 0 takes a free port.
        sandbox_port: Where the sandbox listens; 0 takes a free port.
        db: Keep everything of the sandbox in this file.
        seed: Make ids, secrets and invoices the same in every run that begins at the
            same time.
        speed: How often faster than Aurpay orders time out: 1 is after 30 minutes, 60
            after 30 seconds, 0 never.
        post_callbacks: Send callbacks as POST with the order in the body.
        auth_from_env: Refuse requests without the credentials of the environment.
        ask: Ask for the callback token and secret that the environment lacks.
        output: Lines for people, or JSON for programs.
    """
)
def listen(
    *,
    forward_to: str,
    port: Port = 0,
    sandbox_port: Port = 0,
    db: str | None = None,
    seed: int | None = None,
    speed: float = 1,
    post_callbacks: Flag = False,
    auth_from_env: Flag = False,
    ask: Flag = False,
    output: Output = "text",
) -> int:
    from ._callback_listen import listen_and_forward
    from ._sandbox import Wishes

    wishes = Wishes(
        port=sandbox_port,
        db=db,
        seed=seed,
        speed=speed,
        post_callbacks=post_callbacks,
        auth_from_env=auth_from_env,
        ask=ask,
    )
    return act(
        output,
        lambda screen: listen_and_forward(
            screen, forward_to=forward_to, port=port, wishes=wishes
        ),
    )
