"""Under parallel score clients and two server processes, no score follows its grant's withdrawal in the log."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from support import live

ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 240


@pytest.mark.check
async def test_no_score_stands_in_the_log_behind_its_grants_withdrawal(home):
    """The same run as `make bench ONLY=withdrawal_to_denial`, which withdraws 10,000 times with SIZE=full."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", "--only", "withdrawal_to_denial"),
        cwd=ROOT,
        env=live.environment(home),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), WITHIN_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    measured = json.loads(said.splitlines()[-1])
    assert (process.returncode, measured["withdrawals"], measured["violations"]) == (0, 100, 0)
    assert measured["overlapping"]["calls"] > measured["withdrawals"]
    assert measured["overlapping"]["scored"] > 0
