"""The command line tells in one line what stands in the way."""

import sys

import pytest

from api import cli


def test_a_folder_in_place_of_a_file_is_told_and_no_traceback(monkeypatch, capsys, tmp_path) -> None:
    folder = str(tmp_path)
    monkeypatch.setattr(sys, "argv", ["xinqiao", "log", "verify-person", folder, "--key", folder])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.FAILED
    assert capsys.readouterr().err.startswith("xinqiao: ")
