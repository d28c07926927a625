"""Run inputs one after the other in a process with a limit on memory and time, and print what happened to each."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from optical.errors import OpticalError
from tests.hostile.all_cases import all_cases
from tests.hostile.case import BYTES, SECONDS, Case, Reads, Refused

LONGEST_MESSAGE = 3_000  # characters: a message that quotes a megabyte of input is no message


class Hang(BaseException):
    """The time is over."""


def _over(*_: Any) -> None:
    raise Hang


def happened(case: Case) -> tuple[str, str]:
    """What came of an input, as one word, and what it said."""
    import re

    with tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        read = case.make(Path(folder))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of work, however many share the processor
        signal.setitimer(signal.ITIMER_REAL, 12 * SECONDS)
        try:
            value: Any = read()
            refused = None
        except OpticalError as error:
            value, refused = None, str(error)
        except Hang:
            return "hang", f"more than {SECONDS} s"
        except MemoryError:
            return "memory", f"more than {BYTES / 1e9:g} GB"
        except BaseException as error:  # noqa: BLE001 - all of them are what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            return "traceback", f"{type(error).__name__}: {str(error)[:200]} ({place.filename}:{place.lineno})"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    if refused is not None:
        bad = [c for c in refused if c != "\n" and not c.isprintable() and not c.isspace()]
        fits = isinstance(case.must, Refused) and re.search(case.must.pattern, refused) and not bad
        if isinstance(case.must, Reads):
            return "misread", refused[:400]
        return "as it must" if fits and len(refused) <= LONGEST_MESSAGE else "other message", refused[:400]
    if isinstance(case.must, Reads) and value == case.must.value:
        return "as it must", ""
    return "misread", f"read: {value!r}"[:400]


def main() -> None:
    """Run the inputs from a number on."""
    first, slow = int(sys.argv[1]), sys.argv[2] == "slow"
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _over)
    signal.signal(signal.SIGPROF, _over)
    for module in ("numpy", "pypdf", "lxml.html", "trafilatura", "openpyxl", "yaml", "markdown_it"):
        __import__(module)
    cases = [case for case in all_cases() if case.slow == slow and case.kind in (sys.argv[3:] or [case.kind])]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    for k, case in enumerate(cases[first:], start=first):
        print(json.dumps({"at": k, "case": str(case), "kind": case.kind}), flush=True)
        begun = time.process_time()
        outcome, said = happened(case)
        seconds = round(time.process_time() - begun, 3)
        print(json.dumps({"outcome": outcome, "said": said, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
