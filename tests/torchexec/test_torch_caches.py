"""What torch keeps between runs stays out of the folder for temporary files."""

import os
import subprocess
import sys

import pytest


@pytest.mark.long
@pytest.mark.parametrize("cache", ["cache", "read-only"])
def test_torch_leaves_nothing_in_tmpdir(tmp_path, cache):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (tmp_path / "read-only").write_text("no folder can be made in here")
    given = {"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(tmp_path / cache)}
    kept = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    code = "import compressctl.torchexec, torch._dynamo"
    subprocess.run([sys.executable, "-c", code], check=True, env=kept | given, timeout=120)
    assert cache == "read-only" or not list(temporary.iterdir())
