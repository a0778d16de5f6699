"""A broker on a disk that fails: failing_disk.c, built, and told what fails."""

import os
from pathlib import Path

from e2e import SLOWDOWN, Skip, run, scratch


def failing_disk():
    """The library that makes files fail."""
    if SLOWDOWN > 1:
        raise Skip("what is preloaded does not go with a sanitizer")
    library = scratch("failing_disk.so")
    run("cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("failing_disk.c"), "-ldl")
    return str(library)


class Disk:
    """What is written by those who are started with `env` fails as it says, from one moment to the next."""

    def __init__(self):
        self._control = scratch("control")
        self.env = {"LD_PRELOAD": failing_disk(), "FAILING_DISK": str(self._control)}

    def fail(self, part, error=0, delay_ms=0):
        """Of files with that part in their paths."""
        new = self._control.with_suffix(".new")
        new.write_text(f"{error} {part} {delay_ms}")
        os.rename(new, self._control)

    def heal(self):
        self._control.unlink()
