"""Commands in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
INSTALLED = pytest.mark.skipif(not (SCRIPTS / "compressctl").exists(), reason="the script is not installed")
QUICK = f"""#!{sys.executable}
from functools import partial
from compressctl import __main__
from compressctl.pipeline import setup
setup.Workload = partial(setup.Workload, seconds=0.1)
if __name__ == "__main__":
    __main__.main()
"""


def quick(folder: Path) -> str:
    """Return a PATH whose `compressctl`, a new file in `folder`, times results for as short as tests do."""
    folder.mkdir()
    (folder / "compressctl").write_text(QUICK)
    (folder / "compressctl").chmod(0o755)
    return f"{folder}:{ENVIRONMENT['PATH']}"


def bash(script: str, folder: Path, **variables: str) -> str:
    """Run a script, which ends with the first command that fails; return what it prints."""
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env={**ENVIRONMENT, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in this language that a document shows."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
