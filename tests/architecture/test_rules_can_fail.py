"""A rule that cannot fail protects nobody: every one of them is broken in a scratch copy, and must turn red."""

import shutil
import subprocess
import sys

import pytest
from support import sources


@pytest.mark.check
def test_import_contracts_hold():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-logo"],
        cwd=sources.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.check
def test_every_broken_rule_is_noticed(tmp_path):
    script = sources.ROOT / ".ci" / "break-rules"
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=False, timeout=240
    )
    shutil.rmtree(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
