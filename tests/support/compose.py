"""Read the Dockerfile and the compose file, as far as tests need them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

#: Names of the environment that the compose file reads, and their values in tests.
GIVEN = {"POSTGRES_PASSWORD": "a-made-up-password"}


def read_stages() -> dict[str, dict[str, list[str]]]:
    """Return the arguments of each instruction, by stage and instruction."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    stages: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            base, _, stage = arguments.split()
            inherited = stages.get(base, {"FROM": [base]})
            current = {key: [*values] for key, values in inherited.items()}
            stages[stage] = current
        elif name.isupper():
            current.setdefault(name, []).append(arguments.strip())
    return stages


def read_command(arguments: str) -> list[str]:
    """Return the words of an instruction in exec form, behind its flags."""
    words: list[str] = json.loads(arguments[arguments.index("[") :])
    return words


def read_services() -> dict[str, Any]:
    """Return the services of the compose file, with the environment filled in."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    filled = re.sub(r"\$\{(\w+):\?set it\}", lambda match: GIVEN[match[1]], text)
    services: dict[str, Any] = yaml.safe_load(filled)["services"]
    return services
