"""What an expression may not be: each is refused, at the right place, for the right reason."""

import re

import pytest

from workbench.errors import InputError
from workbench.policies import Expression

# Expression, what the message says, and the text that the mark stands under (None: it points nowhere).
HOSTILE = [
    # Queries within
    ("risk > (SELECT 0.5)", "a query of its own", "(SELECT 0.5)"),
    ("user IN (SELECT user FROM events)", "a query of its own", "(SELECT user FROM events)"),
    ("EXISTS (FROM events)", "a query of its own", "EXISTS (FROM events)"),
    ("risk > ALL (SELECT 1)", "a query of its own", ...),
    ("(TABLE events) IS NULL", "a query of its own", "(TABLE events)"),
    ("user = (WITH a AS (SELECT 1) SELECT 'x')", "a query of its own", "(WITH a AS (SELECT 1) SELECT 'x')"),
    ("user IN (FROM read_csv('/etc/passwd'))", "a query of its own", "(FROM read_csv('/etc/passwd'))"),
    # Files, the environment, the database
    ("read_csv('/etc/passwd') IS NULL", r"read_csv\(\) is not among", "read_csv('/etc/passwd')"),
    ("read_text('/etc/passwd') = user", r"read_text\(\) is not among", "read_text('/etc/passwd')"),
    ("getenv('HOME') = user", "differs from day to day or from place to place", "getenv('HOME')"),
    ("current_setting('home_directory') = user", "differs from day to day", "current_setting('home_directory')"),
    ("getvariable('x') = user", "differs from day to day", "getvariable('x')"),
    ("version() = user", "differs from day to day", "version()"),
    ("current_user = user", "differs from day to day", "current_user"),
    ("nextval('s') > 1", "differs from day to day", "nextval('s')"),
    ("query_table('events') = user", r"query_table\(\) is not among", "query_table('events')"),
    ("COPY events TO '/tmp/x'", "not SQL: syntax error", "events"),
    ("ATTACH '/tmp/x'", "a cast to ATTACH", ...),
    ("pg_catalog.lower(user) = 'x'", "with a prefix", "pg_catalog.lower(user)"),
    # Chance and the clock
    ("random() < 0.5 AND off_hours", "differs from day to day", "random()"),
    ('now() > "timestamp"', "differs from day to day", "now()"),
    ('"timestamp" > current_date', "differs from day to day", "current_date"),
    ("uuid() = user", "differs from day to day", "uuid()"),
    # Other events
    ("count(*) > 3", r"count_star\(\) is not among", "count(*)"),
    ("sum(events_1h) > 3", r"sum\(\) is not among", "sum(events_1h)"),
    ("row_number() OVER () = 1", "a window", "row_number() OVER ()"),
    ('lag(user) OVER (ORDER BY "timestamp") = user', "a window", 'lag(user) OVER (ORDER BY "timestamp")'),
    ("COLUMNS(*) > 1", r"a \*", "*"),
    ("unnest(user) = 'x'", r"unnest\(\) is not among", "unnest(user)"),
    # More than one expression, or not one
    ("off_hours; DROP TABLE events", "several statements", ";"),
    ("off_hours) FROM events; SELECT (1", r"a \) that closes nothing", ")"),
    ("off_hours) FROM events WHERE (1=1", r"a \) that closes nothing", ")"),
    ("off_hours) FROM events UNION SELECT (true", r"a \) that closes nothing", ")"),
    ("(off_hours", r"a \( that is never closed", "("),
    ("off_hours, ip_is_new", r"row\(\) is not among", ...),
    ("off_hours AS x", "not SQL", "AS"),
    ("off_hours AND AND ip_is_new", "not SQL: syntax error", "AND"),
    ("", "is empty", None),
    ("   \n ", "is empty", None),
    # Comments
    ("off_hours -- AND ip_is_new", "a comment", "--"),
    ("off_hours /* harmless */", "a comment", "/*"),
    ("off_hours /*+ hint */ AND /* x", "a comment", "/*"),
    # Things that have no place
    ("user = $1", r"a '\$'", "$"),
    ("user = ?", r"a '\?'", "?"),
    ("#1 = 'x'", "a '#'", "#"),
    ("user = $$x$$", r"a '\$'", "$"),
    ("user = E'\\x41'", "a text with the prefix E", "E'"),
    ("['a'] = user", r"a '\['", "["),
    ("{'a': 1} IS NULL", "a '{'", "{"),
    ("list_filter(user, lambda x: true) = 'x'", r"list_filter\(\) is not among", ...),
    ("user COLLATE nocase = 'x'", "a collation", "user COLLATE nocase"),
    ("TRY(user) = 'x'", "TRY_CAST", "TRY(user)"),
    ("CAST(user AS STRUCT(x INTEGER)) IS NULL", "a cast to STRUCT", ...),
    ("CAST(attributes->>'bytes' AS BIGINT) > 3", "a CAST may fail on an event: use TRY_CAST", ...),
    ("events.user = 'x'", "name the column alone", "events.user"),
    ("rowid = 1", "there is no column 'rowid'", "rowid"),
    ("seq = 1", "there is no column 'seq'", "seq"),
    ("repeat(user, 1000000000) = 'x'", r"repeat\(\) is not among", "repeat(user, 1000000000)"),
    ("regexp_matches(user, ip)", "must be a value", "ip"),
    ("user ~ '('", "missing \\)", "~ '('"),
    # Look-alikes and what cannot be seen
    ("\N{CYRILLIC SMALL LETTER A}ction = 'export'", "CYRILLIC SMALL LETTER A", "\N{CYRILLIC SMALL LETTER A}"),
    ("action = 'exp\N{CYRILLIC SMALL LETTER O}rt'", "mixes CYRILLIC and LATIN", "\N{CYRILLIC SMALL LETTER O}"),
    ("action = '\N{FULLWIDTH LATIN SMALL LETTER E}xport'", "mixes FULLWIDTH and LATIN", ...),
    ("action = ‘export’", "typographic quote ‘: write '", "‘"),
    ("action = 'export\N{ZERO WIDTH SPACE}'", "invisible character .ZERO WIDTH SPACE.", ...),
    ("action\N{NO-BREAK SPACE}= 'export'", "NO-BREAK SPACE", ...),
    ("action = '\N{RIGHT-TO-LEFT OVERRIDE}tropxe'", "RIGHT-TO-LEFT OVERRIDE", ...),
    ("action = 'cafe\N{COMBINING ACUTE ACCENT}'", "not the usual one", ...),
    ("\"\N{CYRILLIC SMALL LETTER A}ction\" = 'x'", "CYRILLIC SMALL LETTER A", ...),
    ("action = 'a\x00b'", "invisible character", ...),
    ("off_hours \x1b[2K AND ip_is_new", "invisible character", ...),
    # Size
    ("(" * 40 + "off_hours" + ")" * 40, "more than 32 parentheses", "("),
    ("NOT " * 400 + "off_hours", "more than 32 parts within parts", ...),
    ("NOT " * 900 + "off_hours", "not SQL: nested too deep", None),
    ("off_hours OR " * 400 + "off_hours", "5,209 characters, at most 4,000", None),
    ("user = '" + "x" * 600 + "'", "a text of 600 characters, at most 500", ...),
    ("risk > " + "9" * 40, "more than 30 digits", ...),
    ("risk > 1e400", "larger than any column holds", "1e400"),
    ("user = 'x", "never closed", "'"),
    # Of the wrong kind
    ("events_24h", "gives a number, expected true or false", "events_24h"),
    ("off_hours AND events_24h", "gives a number, expected true or false", "events_24h"),
    ("NOT user", "gives a text, expected true or false", "user"),
    ("attributes->>'a' OR off_hours", "gives a text, expected true or false", "attributes->>'a'"),
    ("events_24h > 'many'", "Could not convert string 'many'", "events_24h > 'many'"),
    ("events_24h > user", "is a text and meets a number|Cannot compare", ...),
    ("date_part('fortnight', \"timestamp\") = 1", "not recognized", ...),
    ("outcome = 'deny'", "no outcome is 'deny'; did you mean 'denied'", "'deny'"),
    ("1 = 1", "names no column", "1 = 1"),
    ("true", "names no column", "true"),
    # Names that are nearly right
    ("NOT working_hours", "no column 'working_hours'; did you mean 'off_hours'", "working_hours"),
    ("event_24h > 3", "did you mean 'events_24h'", "event_24h"),
    ("lowr(user) = 'x'", "did you mean 'lower'", "lowr(user)"),
    ('user = "bob"', "no column 'bob': texts stand in single quotes", '"bob"'),
    ("attributes.bytes = '1'", "write attributes->>'bytes'", "attributes.bytes"),
    ("starts_with(user) = 'x'", r"starts_with\(\) takes 2 arguments, found 1", "starts_with(user)"),
    ("lower(DISTINCT user) = 'x'", "with DISTINCT", "lower(DISTINCT user)"),
    ("lower(x := user) = 'x'", "named argument|not SQL", ...),
]


def test_there_are_enough_of_them():
    assert len({one[0] for one in HOSTILE}) >= 60


@pytest.mark.parametrize(("expression", "reason", "marked"), HOSTILE, ids=[repr(one[0][:50]) for one in HOSTILE])
def test_it_is_refused_with_the_reason_and_the_place(expression, reason, marked):
    with pytest.raises(InputError) as refused:
        Expression.parse(expression)
    sentence, *shown = str(refused.value).split("\n")
    assert re.search(reason, sentence), sentence
    if marked is None:
        assert shown == []
    else:
        text, mark = shown
        assert re.search(r"\(line \d+, column \d+\)$", sentence)
        assert mark.strip("^ ") == ""
        pointed = text[mark.index("^") : mark.rindex("^") + 1]
        assert marked is ... or pointed == marked


def test_the_place_is_told_by_line_and_column_also_after_foreign_letters():
    with pytest.raises(InputError) as refused:
        Expression.parse("user IN ('Jürgen', '東京')\n  AND hours > 3")
    assert str(refused.value) == (
        "there is no column 'hours'; did you mean 'hour'? (line 2, column 7)\n      AND hours > 3\n          ^^^^^"
    )


def test_no_message_lets_a_control_character_through():
    with pytest.raises(InputError) as refused:
        Expression.parse("off_hours \x1b[2K AND \x07")
    assert all(letter.isprintable() or letter == "\n" for letter in str(refused.value))


def test_whatever_is_thrown_at_it_nothing_but_a_refusal_comes_out():
    import random

    rng = random.Random(7)
    pieces = ["off_hours", "(", ")", "AND", "NOT", "'a'", "user", "=", "IN", ",", "CASE", "WHEN", "THEN", "END", "1", "->>",
              "NULL", "IS", "BETWEEN", "CAST(", "AS", "INTEGER", "::", "||", "~", "lower(", "interval", "day", "-", "risk"]  # fmt: skip
    for _ in range(80):
        text = " ".join(rng.choices(pieces, k=rng.randint(1, 12)))
        try:
            assert Expression.parse(text).columns
        except InputError as refused:
            assert "INTERNAL" not in str(refused) and "Traceback" not in str(refused)
