"""Errors on the command line: one sentence to stderr and an exit code; --debug for the traceback.

0 done, 1 error, 2 usage, 3 partial or a candidate, 4 busy, 130 interrupted, 143 stopped.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn

import click

from dataprune.core.errors import DatapruneError

INTERRUPTED = 130
STOPPED = 143


def run_and_exit(group: click.Group, args: list[str]) -> NoReturn:
    """Run a command line and exit with its code."""
    debug = "--debug" in args
    if "--json" in args or not sys.stderr.isatty():  # read when the Hub's client is first imported
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    args = [a for a in args if a != "--debug"]
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)
    try:
        # Not group.main: it would turn a closed pipe into exit code 1 before we see it.
        with group.make_context("dataprune", args) as context:
            code = group.invoke(context)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say("Interrupted. What was finished is kept: run the same command to go on.")
        sys.exit(INTERRUPTED)
    except _Stopped:
        say("Stopped. What was finished is kept: run the same command to go on.")
        raise
    except BrokenPipeError:
        # The reader of a pipe left (`| head`): not an error of ours, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except DatapruneError as exc:
        if debug:
            raise
        say(f"Error: {exc.message}")
        if exc.hint:
            say(f"Hint: {exc.hint}")
        sys.exit(exc.exit_code)
    except OSError as exc:
        if debug:
            raise
        where = f" ({exc.filename})" if exc.filename else ""
        say(f"Error: {exc.strerror or exc}{where}")
        sys.exit(1)
    except Exception as exc:
        if debug:
            raise
        say(f"Error: unexpected {type(exc).__name__}: {exc}")
        say("Hint: this is a defect of dataprune; please report it with the output of --debug")
        sys.exit(1)


class _Stopped(SystemExit):
    """SIGTERM: end as after Ctrl-C, so that a lease is given back and the journal is kept."""


def _stop(_signum: int, _frame: object) -> NoReturn:
    raise _Stopped(STOPPED)


def say(text: str) -> None:
    """Talk goes to stderr."""
    click.echo(text, err=True)
