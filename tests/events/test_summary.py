"""What a dataset holds, in numbers."""

import json

import pytest

from workbench.events import summarise

HEADER = "timestamp,user,action,source,ip,resource,outcome,said\n"
MAPPING = {
    "format": "csv",
    "columns": {name: name for name in ("timestamp", "user", "action", "source", "ip", "resource", "outcome")},
    "label": {"column": "said", "meaning": {"bad": "violation", "good": "compliant"}},
}


def test_a_summary_counts_everything(read):
    rows = [
        "2024-01-01T00:00:00Z,ann,read,laptop,10.0.0.1,file,success,good",
        "2024-01-02T00:00:00Z,ann,read,phone,,file,denied,bad",
        "2024-01-02T12:00:00Z,bob,write,,,,,",
        "never,bob,write,,,,,",
        "",
    ]
    made = read("a.csv", HEADER + "\n".join(rows) + "\n", mapping=MAPPING)
    assert summarise(made.dataset).as_dict() == {
        "digest": made.dataset.digest,
        "rows": 3,
        "first": "2024-01-01T00:00:00Z",
        "last": "2024-01-02T12:00:00Z",
        "days": 1.5,
        "users": 2,
        "sources": 2,
        "ips": 1,
        "resources": 1,
        "actions": {"read": 2, "write": 1},
        "outcomes": {"denied": 1, "success": 1, "unknown": 1},
        "labels": {"compliant": 1, "violation": 1},
        "unlabelled": 1,
        "label_sets": {made.dataset.labels().digest: {"compliant": 1, "violation": 1}},
        "gaps": [],
        "skipped": {"empty line": 1},
        "rejected": {"the timestamp does not parse": 1},
    }


def test_rare_actions_are_counted_together(read):
    rows = "".join(f"2024-01-01T00:00:00Z,ann,action-{n:02d},,,,,\n" * (20 - n) for n in range(15))
    actions = summarise(read("a.csv", HEADER + rows, mapping=MAPPING).dataset, top=3).actions
    assert actions == {"action-00": 20, "action-01": 19, "action-02": 18, "12 others": sum(range(6, 18))}


def test_a_silence_out_of_the_ordinary_is_a_gap(read):
    moments = [f"2024-01-01T{hour:02d}:{minute:02d}:00Z" for hour in (0, 1, 2, 9, 10) for minute in range(60)]
    rows = "".join(f"{moment},ann,read,,,,,\n" for moment in moments)
    gaps = summarise(read("a.csv", HEADER + rows, mapping=MAPPING).dataset).gaps
    assert [(gap.start, gap.end, gap.seconds) for gap in gaps] == [
        ("2024-01-01T02:59:00Z", "2024-01-01T09:00:00Z", 6 * 3600 + 60)
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_few_events_have_no_gaps(read, count):
    rows = "".join(f"2024-0{n + 1}-01T00:00:00Z,ann,read,,,,,\n" for n in range(count))
    assert summarise(read("a.csv", HEADER + rows, mapping=MAPPING).dataset).gaps == []


def test_a_summary_is_plain_json(read):
    summary = summarise(read("a.csv", HEADER + "2024-01-01T00:00:00Z,ann,read,,,,,\n", mapping=MAPPING).dataset)
    assert json.loads(json.dumps(summary.as_dict())) == summary.as_dict()
