"""`python -m compressctl` and the `compressctl` script: one error boundary around the command line."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from compressctl import signals
from compressctl.errors import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNUSABLE, EXIT_USAGE, CompressctlError


def main() -> None:
    """Run the command line; exit with the code that `errors` documents, never with a traceback (but for --debug)."""
    signals.handle()
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
        return result if isinstance(result, int) else EXIT_OK
    except CompressctlError as error:
        if debug:
            traceback.print_exc()
        return _say(error.message, error.exit_code, error.hint)
    except KeyboardInterrupt:
        return signals.tell()
    except BrokenPipeError:
        # The reader of stdout left early (`| head`); nobody is there to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except MemoryError:
        return _say("out of memory", EXIT_UNUSABLE, "try a smaller --calibrate slice or a machine with more memory")
    except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours still ends in one line
        if debug:
            traceback.print_exc()
        return _say(
            f"internal fault: {type(error).__name__}: {error}",
            EXIT_FAULT,
            "report it, with what `compressctl --debug …` prints",
        )


def _say(message: str, code: int, hint: str | None = None) -> int:
    line = " ".join(f"error: {message}".split())
    print(f"{line}\n  hint: {hint}" if hint else line, file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
