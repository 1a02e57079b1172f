"""Makes the small extract of the log that the suite replays: every variant at least once, the frequent ones more often.

    python -m tests.scenarios.domestic_declarations.build_extract DomesticDeclarations.xes.gz

The same log always gives the same extract, byte for byte.
"""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import quoteattr

from .model import EXTRACT, Trace, read_log

CASES = 120
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Extract of the event log "BPI Challenge 2020: Domestic Declarations", B. van Dongen, 4TU.ResearchData, CC BY 4.0.
     Chosen cases, and of each event only what the replay reads. -->
<log xes.version="1.0" xmlns="http://www.xes-standard.org/">
<extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
"""
KEYS = {"declaration": "(case)_DeclarationNumber", "amount": "(case)_Amount", "budget": "(case)_BudgetNumber"}


def chosen(traces: list[Trace]) -> list[Trace]:
    """The first case of every variant; then, up to `CASES`, more of each in proportion to how often it comes."""
    counts = Counter(trace.activities for trace in traces)
    spare = CASES - len(counts)
    share = {variant: 1 + round(spare * count / len(traces)) for variant, count in counts.items()}
    taken: Counter[tuple[str, ...]] = Counter()
    found = []
    for trace in traces:
        if taken[trace.activities] < share[trace.activities]:
            taken[trace.activities] += 1
            found.append(trace)
    return found


def as_xes(traces: list[Trace]) -> str:
    """The traces as a log of the same shape as the original."""
    parts = [HEAD]
    for trace in traces:
        parts.append(f'<trace><string key="concept:name" value={quoteattr(trace.name)}/>')
        for activity in trace.activities:
            facts = "".join(f'<string key="{key}" value={quoteattr(trace.facts[name])}/>' for name, key in KEYS.items())
            parts.append(f'<event><string key="concept:name" value={quoteattr(activity)}/>{facts}</event>')
        parts.append("</trace>\n")
    return "".join([*parts, "</log>\n"])


def main() -> None:
    """Write the extract beside this file."""
    traces = chosen(read_log(Path(sys.argv[1])))
    EXTRACT.write_bytes(gzip.compress(as_xes(traces).encode(), 9, mtime=0))
    events = sum(len(trace.activities) for trace in traces)
    variants = len({trace.activities for trace in traces})
    print(
        f"{EXTRACT.name}: {len(traces)} cases, {variants} variants, {events} events, {EXTRACT.stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    main()
