"""The program that reads a gallery's index: YAML on standard input, lines of JSON on standard output.

Run by parsing.py as `python -m gallery.catalog.parse_child`, so that neither a hostile text nor the memory that YAML
takes is the worker's. The first line is what was left out, [how many, [the first of the reasons]]; each other one is an
entry. Exit status 0, or REFUSED with a sentence on standard error.
"""

import json
import resource
import sys

from gallery.catalog.entries import MAX_INDEX_BYTES, parse_index, to_line
from gallery.catalog.errors import CatalogError

REFUSED = 3
#: Reasons for leaving an entry out that are passed on.
_REASONS = 20
#: Limits of the system for this process: address space and files in bytes, processor time in seconds.
MEMORY, OUTPUT, SECONDS = 3 << 29, 4 * MAX_INDEX_BYTES, 120


def main() -> int:
    limit()
    try:
        index = parse_index(sys.stdin.buffer.read(MAX_INDEX_BYTES + 1))
    except CatalogError as error:
        return refuse(str(error))
    except MemoryError:
        return refuse(f"The index takes more than {MEMORY >> 20} MiB of memory to read, which is the limit.")
    if not index.entries:
        return refuse("The index has no entry that can be used.")
    reasons = [f"Entry {position + 1}: {reason}" for position, reason in index.skipped[:_REASONS]]
    sys.stdout.write(f"{json.dumps([len(index.skipped), reasons])}\n")
    for entry in index.entries:
        sys.stdout.write(f"{to_line(entry)}\n")
    sys.stdout.flush()
    return 0


def refuse(sentence: str) -> int:
    sys.stderr.write(sentence)
    return REFUSED


def limit() -> None:
    """Lower this process's own limits; one that is lower already stays."""
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, OUTPUT), (resource.RLIMIT_CPU, SECONDS)):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


if __name__ == "__main__":
    sys.exit(main())
