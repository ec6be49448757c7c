"""The Dockerfile and the compose file agree with each other and with the package."""

from __future__ import annotations

import re

import pytest

from aurpay_async.sandbox import Sandbox

from .support.compose import GIVEN, ROOT, read_command, read_services, read_stages

#: The documented values that a sandbox makes up, and the example shop's password.
MADE_UP = {"any", "sandbox-callback-secret", "sandbox-reference-key", "honey"}


@pytest.mark.parametrize("stage", ["sandbox", "shop"])
def test_images_run_without_root_and_check_their_own_port(stage: str) -> None:
    instructions = read_stages()[stage]
    assert instructions["FROM"] == ["python:3.13-slim"]
    assert instructions["USER"] == ["10001"]
    assert instructions["HEALTHCHECK"][0].startswith("--interval=")
    (port,) = instructions["EXPOSE"]
    assert f"http://127.0.0.1:{port}/" in instructions["HEALTHCHECK"][0]
    service = read_services()[stage]
    assert service["build"] == {"context": ".", "target": stage}
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_sandbox_is_the_image_that_is_built_by_default() -> None:
    *_, last = read_stages().items()
    assert last[0] == "sandbox"
    words = read_command(last[1]["ENTRYPOINT"][0])
    assert words[-2:] == ["--port", *last[1]["EXPOSE"]]


def test_copied_files_exist_and_are_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    sources = {
        source
        for instructions in read_stages().values()
        for copied in instructions["COPY"]
        for source in copied.split()[:-1]
    }
    assert {source.partition("/")[0] for source in sources} == sent
    assert lines[1] == "*"
    # The package is elsewhere if the tests run on a wheel.
    files = sources - {"aurpay_async"}
    assert all((ROOT / source).exists() for source in files)


def test_compose_file_publishes_ports_on_loopback_only() -> None:
    published = [
        port for each in read_services().values() for port in each.get("ports", [])
    ]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_file_contains_no_secret() -> None:
    raw = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert not any(value in raw for value in GIVEN.values())
    for service in read_services().values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"KEY|SECRET|TOKEN|PASSWORD", name):
                assert value in MADE_UP | {*GIVEN.values()}, name
    environment = read_services()["shop"]["environment"]
    assert environment["AURPAY_CALLBACK_SECRET"] == Sandbox().callback_secret
    assert environment["AURPAY_NETWORK"] == "regtest"


def test_images_have_no_registry_in_their_names() -> None:
    images = [each["image"] for each in read_services().values() if "image" in each]
    assert images == ["postgres:17"]
    bases = {stage["FROM"][0] for stage in read_stages().values()}
    assert all(re.fullmatch(r"[a-z]+:[\w.-]+", name) for name in {*images, *bases})
