"""Tables, pictures and raw data of what perf/run.py has measured."""

import collections
import json
import statistics

import plot

# size: the greatest that was measured. cost, ratio: by system.
Row = collections.namedtuple("Row", "group workload size unit cost ratio wrong")
# Each has the bars of its rows.
PICTURES = ("concurrency", "network", "compiling")
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


def picture_of(row):
    if row.group in ("churn", "http") or row.group.startswith("echo"):
        return "network"
    return "compiling" if row.group == "compile" else "concurrency"


def curves_of(group):
    return f"curves-{group.replace(' ', '-')}.svg"


def chosen(rows):
    """Of each workload the largest size, and the largest that more systems have measured. Of the
    network, where it is connections, all sizes."""
    def hides(larger, row):
        return (larger.group, larger.workload) == (row.group, row.workload) \
            and larger.size > row.size and len(larger.cost) >= len(row.cost)

    return [row for row in rows if picture_of(row) == "network" or not any(hides(other, row) for other in rows)]


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


def pictures(rows, names):
    """File name -> SVG: bars of the ratios, and the curves of each group."""
    shown = [row for row in chosen(rows) if not row.workload.startswith("latency")]
    found = {
        f"{name}.svg": plot.bars(name, [row for row in shown if picture_of(row) == name], names)
        for name in PICTURES
    }
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        found[curves_of(group)] = plot.curves(f"{group}, over size", of_group, names)
    return {name: svg for name, svg in found.items() if svg}


def busy(load):
    """A machine that was not alone says so: the spread tells how much that means."""
    if load > 0.5:
        return [f"**The machine was busy with other work (load {load:.1f} before the run): figures are "
                "too high and spreads wide; look at the ratios, and run it again.**", ""]
    return []


def markdown(results, rows, images):
    names = list(results["systems"])
    lines = ["# What was measured", "",
             f"`{results['command'].strip()}` on {results['date']}, {results['seconds']} s; "
             f"{results['machine']}. What is compared, and what is "
             f"not quite the same: [README.md](README.md).", "",
             *busy(results["load"]),
             *(f"* {name}: {version}" for name, version in results["systems"].items()), "",
             f"Lower is better. A cell has the median of the turns, half of what lies between the "
             f"least and the greatest, and (**how many times {names[0]}'s cost it is**).", ""]
    lines += [f"![{name}](results/{name}.svg)" for name in PICTURES if f"{name}.svg" in images]
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        lines += ["", f"## {group}", "", *table(chosen(of_group), names)]
        image = curves_of(group)
        lines += ["", f"![{group}, over size](results/{image})"] if image in images else []
    return "\n".join(lines) + "\n"


def compact(results):
    """JSON, a sample on each line."""
    head = {key: value for key, value in results.items() if key != "samples"}
    samples = ",\n".join(json.dumps(sample) for sample in results["samples"])
    return json.dumps(head, indent=1)[:-2] + f',\n "samples": [\n{samples}\n]}}\n'


def write(results, directory):
    """RESULTS.md, and in results/ what it shows and the raw data."""
    beside = directory / "results"
    beside.mkdir(parents=True, exist_ok=True)
    rows = rows_of(results)
    images = pictures(rows, list(results["systems"]))
    for name, svg in images.items():
        (beside / name).write_text(svg)
    (beside / "results.json").write_text(compact(results))
    (directory / "RESULTS.md").write_text(markdown(results, rows, images))
