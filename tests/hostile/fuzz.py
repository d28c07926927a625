"""Coverage-guided fuzzing of one reader by atheris: ``python -m tests.hostile.fuzz FORMAT SECONDS FOLDER``.

Whatever a file holds, only a DataError may come out. The folder keeps the inputs that reached new code.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from optical.errors import OpticalError


def main() -> None:
    """Fuzz until the time is over; an exception ends it with its traceback and a status that is not 0."""
    import atheris  # pyright: ignore[reportMissingImports]

    name, seconds, kept = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with atheris.instrument_imports(include=["optical.data"]):
        from tests.hostile.formats import FORMATS
    one = FORMATS[name]
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "valid").write_bytes(one.files[one.file].encode())
    logging.disable(logging.CRITICAL)
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))

    def read(data: bytes) -> None:
        with contextlib.suppress(OpticalError):
            one.make(place, data)()

    atheris.Setup(["fuzz", str(kept), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048"], read)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
