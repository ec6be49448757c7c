"""All checks of a change: ``nox``, or ``make check``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
# A Python that is not installed is skipped with a message; none is downloaded.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.error_on_external_run = True

PYTHONS = nox.project.python_versions(nox.project.load_toml(), max_version="3.13")
LOWEST = PYTHONS[0]
#: The Python that measures coverage. CPython 3.11 can loop endlessly while it traces: a
#: function that runs within a pending call checks for pending calls before its first
#: line, and does not proceed if there is another. greenlet leaves one for each thread
#: that coverage has traced.
COVERED = "3.12"

#: Files in YAML, by their schema.
SCHEMAS = {
    "compose-spec": ("compose.yaml",),
    "dependabot": (".github/dependabot.yml",),
    "github-issue-forms": (
        ".github/ISSUE_TEMPLATE/bug.yml",
        ".github/ISSUE_TEMPLATE/feature.yml",
        ".github/ISSUE_TEMPLATE/observation.yml",
    ),
    "github-workflows": (".github/workflows/ci.yml", ".github/workflows/release.yml"),
}

#: Prints the installed versions.
VERSIONS = """
from importlib.metadata import distributions
print(*sorted(f"{d.name} {d.version}" for d in distributions()), sep=", ")
"""

#: The default suite, on all processors: all tests but the slow ones.
SUITE = ("pytest", "-q", "-n", "auto")
#: All tests.
ALL_TESTS = (*SUITE, "-m", "")

os.environ["UV_PYTHON_DOWNLOADS"] = "never"


def install(session: nox.Session, *groups: str, extras: str = "cli,fast") -> None:
    """Install the package from the working tree, and dependency groups."""
    chosen = [word for group in groups for word in ("--group", group)]
    session.install("-e", f".[{extras}]", *chosen)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, layers, spelling, prose, and files of containers and of CI."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")
    session.run("codespell")
    session.run("python", "-m", "docs.prose")
    session.run("hadolint", "Dockerfile")
    for schema, files in SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


@nox.session
def typing(session: nox.Session) -> None:
    """Run both type checkers."""
    install(session, "typing", "browser", "bench", "docs", "pictures", "examples")
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests on each supported Python, and measure coverage on one."""
    install(session, "test")
    if session.python != COVERED:
        # With all warnings of Python as errors.
        with_warnings = ("python", "-X", "dev", "-W", "error", "-m", *ALL_TESTS)
        session.run(*with_warnings, *session.posargs)
        return
    session.env["COVERAGE_FILE"] = str(Path(session.create_tmp()) / "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", *ALL_TESTS, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=LOWEST)
def uvloop(session: nox.Session) -> None:
    """Run all tests on uvloop."""
    install(session, "test")
    session.env["AURPAY_TEST_UVLOOP"] = "1"
    session.run(*ALL_TESTS, *session.posargs)


@nox.session(python=LOWEST)
def properties(session: nox.Session) -> None:
    """Run property-based tests with twenty times as many examples."""
    install(session, "test")
    # The stateful test of the order store then takes minutes.
    slow = ("-o", "faulthandler_timeout=1200")
    profile = ("-m", "hypothesis", "--hypothesis-profile", "thorough", *slow)
    session.run(*SUITE, *profile, *session.posargs)


@nox.session(python=LOWEST, venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run all tests with the oldest dependencies that pyproject.toml allows."""
    session.env["UV_RESOLUTION"] = "lowest-direct"
    install(session, "test")
    session.run("python", "-c", VERSIONS)
    session.run(*ALL_TESTS, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation without warnings, and check its links."""
    install(session, "docs", extras="cli")
    folder = str(Path(session.create_tmp()) / "site")
    shutil.rmtree(folder, ignore_errors=True)
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-n", "docs", folder)
    session.run("python", "docs/check.py", folder)


@nox.session(default=False)
def pictures(session: nox.Session) -> None:
    """Regenerate the pictures of the documentation with Debian's Chromium."""
    if shutil.which("chromium") is None:
        session.skip("chromium is not installed")
    install(session, "pictures")
    session.run("python", "-m", "docs.pictures")


@nox.session
def build(session: nox.Session) -> None:
    """Check both archives, and run the default suite on the built wheel."""
    session.install("--group", "build")
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    session.run("python", "-m", "build", "--quiet", "--outdir", str(folder))
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    session.run("check-wheel-contents", str(wheel))
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    # The tests of the source archive run without the package beside them.
    shutil.unpack_archive(sdist, folder)
    source = folder / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(source / "aurpay_async")
    session.chdir(source)
    session.install(f"{wheel}[cli,fast]", "--group", "test")
    session.run("python", "-c", "import aurpay_async; print(aurpay_async.__path__)")
    session.run(*SUITE, *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Decode our invoices with the npm package ``bolt11``."""
    npm = shutil.which("npm")
    if npm is None:
        session.skip("npm is not installed")
    install(session, "test")
    folder = session.create_tmp()
    command = (npm, "install", "--silent", "--no-audit", "--no-fund", "--no-save")
    session.run(*command, "--prefix", folder, "bolt11", external=True)
    session.env["NODE_PATH"] = str(Path(folder).resolve() / "node_modules")
    session.run("pytest", "-q", "tests/bolt11/test_npm.py")


@nox.session
def postgresql(session: nox.Session) -> None:
    """Run the tests of PostgreSQL, with processes that are killed at random."""
    install(session, "test")
    session.env["AURPAY_TEST_POSTGRESQL"] = "1"
    folders = ("callbacks", "cli", "db", "examples", "orders", "workers")
    where = tuple(f"tests/{folder}" for folder in folders)
    chosen = ("-k", "postgresql or processes or workers or crashes", "-rs")
    session.run(*ALL_TESTS, *where, *chosen, *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Test the sandbox's pages in Debian's Chromium; screenshots are in .nox."""
    if shutil.which("chromium") is None:
        session.skip("chromium is not installed")
    install(session, "browser")
    folder = Path(session.create_tmp()).resolve()
    session.env["AURPAY_SCREENSHOTS"] = str(folder / "screenshots")
    chosen = ("tests/browser", "tests/bolt11/test_qr.py")
    session.run(*ALL_TESTS, *chosen, *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Test the programs in examples/, also with processes that are killed."""
    install(session, "examples")
    session.env["AURPAY_TEST_EXAMPLES"] = "1"
    # Restarting a killed process takes six seconds each time.
    slow = ("-o", "faulthandler_timeout=600")
    session.run(*ALL_TESTS, *slow, "tests/examples", *session.posargs)


@nox.session
def contract(session: nox.Session) -> None:
    """Compare the sandbox's control API with its OpenAPI description."""
    install(session, "contract")
    # One test sends thousands of requests.
    slow = ("-o", "faulthandler_timeout=600")
    session.run("pytest", "-q", *slow, "tests/contract", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """See that each part of the benchmarks runs; nothing is timed."""
    install(session, "bench", "test")
    session.env["AURPAY_TEST_BENCHMARKS"] = "1"
    session.run("pytest", "-q", "tests/test_benchmarks.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the benchmarks; the results are in benchmarks/results."""
    install(session, "bench", "browser")
    session.run("python", "-m", "benchmarks", *session.posargs)
