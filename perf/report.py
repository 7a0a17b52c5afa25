"""Tables and raw data of what perf/run.py has measured."""

import collections
import json
import statistics

# size: the greatest that was measured. cost, ratio: by system.
Row = collections.namedtuple("Row", "group workload size unit cost ratio wrong")
Cost = collections.namedtuple("Cost", "median low high")


def by(samples, *keys):
    """The samples in lists, by the values of `keys`, in order of appearance."""
    lists = collections.defaultdict(list)
    for sample in samples:
        lists[tuple(sample[key] for key in keys)].append(sample)
    return lists


def row_of(key, samples, reference):
    """`samples` are all of one workload and size. A ratio above 1: the reference costs less."""
    medians = {system: {sample["turn"]: sample["median"] for sample in of_system}
               for (system,), of_system in by(samples, "system").items()}
    cost = {system: Cost(statistics.median(turns.values()), min(turns.values()),
                         max(turns.values())) for system, turns in medians.items()}
    own = medians.get(reference, {})
    ratio = {}
    for system, turns in medians.items():
        pairs = [turns[turn] / own[turn] for turn in turns if own.get(turn)]
        if system != reference and pairs:
            ratio[system] = statistics.median(pairs)
    sums = {sample["checksum"] for sample in samples}
    return Row(*key, samples[0]["unit"], cost, ratio, len(sums) > 1)


def rows_of(results):
    reference = next(iter(results["systems"]))
    lists = by(results["samples"], "group", "workload", "size")
    return [row_of(key, samples, reference) for key, samples in lists.items()]


def chosen(rows):
    """The largest size of each workload; of network loads, where it is connections, all."""
    last = {}
    for row in rows:
        size = row.size if row.group.startswith("echo") else 0
        kept = last.setdefault((row.group, row.workload, size), row)
        if row.size > kept.size:
            last[row.group, row.workload, size] = row
    return list(last.values())


def number(value):
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def ratio_text(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def cell(row, system):
    if system not in row.cost:
        return ""
    cost = row.cost[system]
    spread = (cost.high - cost.low) / 2 / cost.median if cost.median else 0
    text = f"{number(cost.median)} ±{spread:.0%}"
    return text + (f" (**{ratio_text(row.ratio[system])}**)" if system in row.ratio else "")


def table(rows, names):
    names = [name for name in names if any(name in row.cost for row in rows)]
    lines = ["| | unit | n | " + " | ".join(names) + " |", "|---|---|--:" + "|--:" * len(names) + "|"]
    for row in rows:
        title = row.workload + (" (checksums differ)" if row.wrong else "")
        cells = [title, row.unit, f"{row.size:,}", *(cell(row, name) for name in names)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def markdown(results, rows):
    names = list(results["systems"])
    lines = ["# What was measured", "",
             f"`{results['command'].strip()}` on {results['date']}, {results['seconds']} s; "
             f"{results['machine']}.", "",
             *(f"* {name}: {version}" for name, version in results["systems"].items()), "",
             f"Lower is better. A cell has the median of the turns, half of what lies between the "
             f"least and the greatest, and (**how many times {names[0]}'s cost it is**).", ""]
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        lines += [f"## {group}", "", *table(chosen(of_group), names), ""]
    return "\n".join(lines)


def write(results, directory):
    directory.mkdir(parents=True, exist_ok=True)
    rows = rows_of(results)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "RESULTS.md").write_text(markdown(results, rows))
