"""`python -m compressctl` and the `compressctl` script: one error boundary around the command line."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from compressctl import signals
from compressctl.errors import (
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNUSABLE,
    EXIT_USAGE,
    EXTRAS,
    CompressctlError,
    MissingExtraError,
)
from compressctl.plain import plain
from compressctl.supervisor import supervise

_LONGEST = 2000  # characters of a line on stderr: half a page
_COLLECT = 50_000  # objects made before garbage is looked for: graphs are many of them, which live long


def main() -> None:
    """Run the command line; exit with the code that `errors` documents, never with a traceback (but for --debug)."""
    _hold_streams()
    supervise()
    signals.handle()
    gc.set_threshold(_COLLECT)
    signals.end(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line on `arguments`; return the exit code."""
    debug = "--debug" in arguments
    try:
        import typer

        from compressctl.cli import app

        # ClickException: older typers have it from click, newer ones bring their own.
        refused: type[Any] = typer.BadParameter.__mro__[2]
        try:
            result = app(arguments, standalone_mode=False)
        except typer.Abort:
            return signals.tell()
        except refused as error:
            return _say(error.format_message(), EXIT_USAGE)
        if result == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this
            return signals.tell()
        sys.stdout.flush()  # what cannot be written is told here, and not as Python ends
        return result if isinstance(result, int) else EXIT_OK
    except CompressctlError as error:
        if debug:
            traceback.print_exc()
        return _say(error.message, error.exit_code, error.hint)
    except KeyboardInterrupt:
        return signals.tell()
    except (BrokenPipeError, SystemExit):  # typer turns the one into the other
        # The reader of stdout left early (`| head`); nobody is there to tell.
        _give_up_stdout()
        return EXIT_OK
    except OSError as error:  # what the system refuses: a full disk, a name too long, a folder without permission
        if debug:
            traceback.print_exc()
        if error.filename is None:
            _give_up_stdout()
        about = "the output" if error.filename is None else os.fsdecode(error.filename)
        return _say(f"{about}: cannot be read or written: {error.strerror or error}", EXIT_USAGE)
    except ModuleNotFoundError as error:
        if debug:
            traceback.print_exc()
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            return _say(f"{module} is not installed: {error}", EXIT_FAULT, "install compressctl again")
        missing = MissingExtraError(f"what uses {module}", EXTRAS[module])
        return _say(missing.message, missing.exit_code, missing.hint)
    except MemoryError:
        return _say("out of memory", EXIT_UNUSABLE, "try a smaller --calibrate slice or a machine with more memory")
    except Exception as error:  # noqa: BLE001 - the boundary: a bug in compressctl still ends in one line
        if debug:
            traceback.print_exc()
        return _say(
            f"internal fault: {type(error).__name__}: {error}",
            EXIT_FAULT,
            "report it, with what `compressctl --debug …` prints",
        )


def _say(message: str, code: int, hint: str | None = None) -> int:
    line = _brief(plain(" ".join(f"error: {message}".split())))
    with suppress(OSError):  # where stderr is closed or full, the exit code says it alone
        print(f"{line}\n  hint: {_brief(plain(hint))}" if hint else line, file=sys.stderr, flush=True)
    return code


def _brief(line: str) -> str:
    """Leave out the middle of a line that lists thousands of names."""
    left_out = len(line) - _LONGEST
    half = _LONGEST // 2
    return line if left_out <= 0 else f"{line[:half]} … {left_out:,} characters more … {line[-half:]}"


def _hold_streams() -> None:
    """Put the null device where stdin, stdout or stderr is closed, and let both print whatever a name holds."""
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _give_up_stdout() -> None:
    """Let what waits to be printed go nowhere: Python would try once more as it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
