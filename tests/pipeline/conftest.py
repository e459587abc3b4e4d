import json

import pytest


@pytest.fixture
def command(call, tmp_path, monkeypatch):
    """Run a command on a model, in an empty folder; return exit code, what it printed, and the report."""
    monkeypatch.chdir(tmp_path)

    def _command(name, model, *flags):
        code, stdout, stderr = call(name, model, "-o", "out.onnx", "-q", "--force", "--threads", 1, *flags)
        path = tmp_path / "out.report.json"
        return code, stdout + stderr, json.loads(path.read_text()) if path.exists() else None

    return _command
