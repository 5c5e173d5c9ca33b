"""One candidate in a process of its own: prepared once, then it does its work whenever it is told.

    python -m benchmarks.stage_worker MODULE:FUNCTION JSON

`benchmarks.MODULE.FUNCTION(**JSON)` prepares and returns the work and what is to be known of it. A line comes back when
that is done, and a line with its seconds for each line that comes in. Only the standard library is imported here: it
runs in the environments of the peers as well.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time


def main() -> None:
    module, _, function = sys.argv[1].partition(":")
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        work, facts = getattr(importlib.import_module(f"benchmarks.{module}"), function)(**json.loads(sys.argv[2]))
        work()  # a first time, which is slower, is not counted
        print(json.dumps(facts), file=answers, flush=True)
        for _ in sys.stdin:
            cpu, begin = time.process_time(), time.perf_counter()
            work()
            taken = {"seconds": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}
            print(json.dumps(taken), file=answers, flush=True)


if __name__ == "__main__":
    main()
