"""Snapshots of the packages that `import aurpay_async` loads."""

from __future__ import annotations

import json
from typing import Any

from ..test_house import run_python
from .snapshot import expect_json

_LOADED = """
import json, sys
before = set(sys.modules)
import {modules}
names = {{name.partition(".")[0] for name in set(sys.modules) - before}}
names -= {{"aurpay_async", "math"}}
own = sorted(name for name in names & sys.stdlib_module_names if name[0] != "_")
print(json.dumps([sorted(names - sys.stdlib_module_names), own]))
"""


def loaded_by(modules: str) -> Any:
    """Return the third-party and the standard packages that an import loads."""
    return json.loads(run_python(_LOADED.format(modules=modules)))


def test_importing_the_package_loads_the_stored_third_party_packages() -> None:
    """Import time may not be measured here, so the packages that cost it are stored.

    `attrs` and `cattrs` are what most programs have loaded already. Private modules of
    the standard library, and `math`, are left out: attrs and cattrs load them on some
    versions of Python and not on others.
    """
    ours, standard = loaded_by("aurpay_async")
    usual, usual_standard = loaded_by("attrs, cattrs")
    expect_json(
        "imports.json",
        {
            "third-party": ours,
            "third-party, beyond attrs and cattrs": sorted({*ours} - {*usual}),
            "standard library, beyond attrs and cattrs": sorted(
                {*standard} - {*usual_standard}
            ),
        },
    )
