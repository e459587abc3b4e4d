"""A few cases of `make fuzz`, always the same ones, in a process that has opened nothing yet."""

import subprocess
import sys


def test_damaged_files_end_as_they_should():
    code = (
        "import pathlib, tempfile; from fuzz import cases, harness; harness.warm_up(torch=False)\n"
        "for number in range(16):\n"
        "    with tempfile.TemporaryDirectory() as name:\n"
        "        folder = pathlib.Path(name)\n"
        "        print(number, harness.judge(cases.make_case(2, number, cases.QUICK, folder), folder))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{number} None" for number in range(16)], done.stdout + done.stderr
