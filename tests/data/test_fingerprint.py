"""Fingerprints of samples: other content gives another one, another place does not."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from compressctl.data.fingerprint import fingerprint, source_files
from compressctl.errors import DataError, UsageError


def save(path: Path, value: float) -> Path:
    np.savez(path, x=np.full((4, 2), value, np.float32))
    return path


def test_the_same_bytes_elsewhere_are_the_same(tmp_path):
    one, two = save(tmp_path / "a.npz", 1), tmp_path / "b.npz"
    two.write_bytes(one.read_bytes())
    assert fingerprint(str(one)) == fingerprint(str(two))


def test_other_bytes_slices_and_options_are_another(tmp_path):
    one, two = save(tmp_path / "a.npz", 1), save(tmp_path / "b.npz", 2)
    notations = [str(one), str(two), f"{one}[:2]", f"{one}[2:]", f"{one},labels=y", f"{one}[:2],labels=y"]
    notations += ["random", "random:8", "digits:train", "digits:test", "digits"]
    assert len({fingerprint(notation) for notation in notations}) == len(notations)


def test_files_are_streamed(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1000, 4000), np.float32))
    fingerprint(str(path))
    tracemalloc.start()
    fingerprint(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20 < path.stat().st_size


def images(folder: Path, **contents: bytes) -> Path:
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".png").write_bytes(content)
    return folder


def test_folders_of_images(tmp_path):
    base = fingerprint(str(images(tmp_path / "a", cat__0=b"1", dog__0=b"2")))
    assert fingerprint(str(images(tmp_path / "b", cat__0=b"1", dog__0=b"2"))) == base
    assert fingerprint(str(images(tmp_path / "c", cat__0=b"2", dog__0=b"1"))) != base
    assert fingerprint(str(images(tmp_path / "d", cat__0=b"1", cat__1=b"2"))) != base
    (tmp_path / "a" / "cat" / "README").write_text("no image")
    assert fingerprint(str(tmp_path / "a")) == base
    (tmp_path / "a" / "bird").mkdir()  # an empty class comes first and moves the others' labels
    assert fingerprint(str(tmp_path / "a")) != base
    assert [path.name for path in source_files(str(tmp_path / "a"))] == ["0.png", "0.png"]


def test_python_modules_are_hashed_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('was run')")
    module = package / "samples.py"
    module.write_text("raise RuntimeError('was run')")
    notation = "python:own_package.samples:load"
    before = fingerprint(notation)
    assert source_files(notation) == [module]
    assert fingerprint("python:own_package.samples:other") != before
    module.write_text("# changed")
    assert fingerprint(notation) != before


@pytest.mark.parametrize("notation", ["digits:train[:8]", "random:8"])
def test_what_has_no_files(notation):
    assert source_files(notation) == [] and len(fingerprint(notation)) == 64


@pytest.mark.parametrize("notation", ["no.npz", "python:no_such_module:load", "python:no.such:load"])
def test_missing_sources(notation):
    with pytest.raises(DataError, match="no"):
        fingerprint(notation)


def test_wrong_notation():
    with pytest.raises(UsageError):
        fingerprint("a.npz[1]")


def test_files_that_options_name_count_by_what_they_hold(tmp_path):
    for place in ("a", "b", "other"):
        (tmp_path / place).mkdir()
        np.save(tmp_path / place / "0.npy", np.full(2, place == "other"))
        (tmp_path / place / "classes.txt").write_text("dog\ncat\n" if place == "other" else "cat\ndog\n")
    (tmp_path / "files.csv").write_text("file,label\n0.npy,cat\n")
    (tmp_path / "numbers.csv").write_text("x,label\n1,cat\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.npy").write_bytes((tmp_path / "a" / "0.npy").read_bytes())
    for notation in ("files.csv,folder={}", "files.csv,folder=a,classes={}/classes.txt", "data,target={}"):
        notation = f"{tmp_path}/{notation}".replace("folder=a", f"folder={tmp_path}/a")
        one, two, other = (fingerprint(notation.format(tmp_path / place)) for place in ("a", "b", "other"))
        assert one == two != other
    table = f"{tmp_path}/numbers.csv,classes={tmp_path}/{{}}/classes.txt"
    assert fingerprint(table.format("a")) == fingerprint(table.format("b")) != fingerprint(table.format("other"))
    assert [file.name for file in source_files(table.format("a"))] == ["numbers.csv", "classes.txt"]
