"""The DuckDB file: its one table, the triggers that refuse changes, and connections that live for a moment.

A connection is to an empty database in memory, to which the ledger's file is attached as ``store``. So nothing that a
tampered file may hold (a view or a macro named like a function of DuckDB) is ever found by name.
"""

import contextlib
import errno
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb

from workbench.errors import IntegrityError, LedgerError, StorageError
from workbench.files import storage_errors
from workbench.ledger import forks

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Database"]

_CREATE: Final = (
    "CREATE TABLE audit(seq UBIGINT PRIMARY KEY, entry BLOB NOT NULL, leaf BLOB NOT NULL)",
    "CREATE TABLE refused(what VARCHAR)",  # a trigger must name a table to insert into; none ever arrives there
)
# TRUNCATE is a DELETE to them; MERGE and INSERT OR REPLACE are refused by DuckDB for a table with triggers.
_GUARD: Final = tuple(
    f"CREATE TRIGGER no_{verb.lower()} BEFORE {verb} ON audit FOR EACH STATEMENT "
    f"INSERT INTO refused SELECT error('append-only: the ledger refuses {verb}')"
    for verb in ("UPDATE", "DELETE")
)
_DAMAGE: Final = (
    "not a valid DuckDB database",
    "Corrupt database",
    "checksum",
    "Serialization Error",
    "version number",
    "enough bytes",
)
_REFUSALS: Final = {
    "No space left": errno.ENOSPC,
    "quota": errno.EDQUOT,
    "Permission denied": errno.EACCES,
    "Read-only file system": errno.EROFS,
    "No such file": errno.ENOENT,
}
_CHUNK: Final = 5_000  # rows a fetch: measured fastest; 50,000 takes twice as long
_VERIFY: Final = "see `workbench ledger verify`"


class Database:
    """A connection with the ledger's table attached as ``store.audit``; errors come out as ours."""

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        """Attach ``path``, or an empty ledger in memory for ``None``."""
        forks.check()
        self._name = "the ledger" if path is None else path.name
        with self._told():
            self._connection = duckdb.connect(":memory:", config={"threads": 2})
        if path is not None:
            forks.track(self._connection)
        try:
            place = ":memory:" if path is None else str(path).replace("'", "''")
            self.rows(f"ATTACH '{place}' AS store {'(READ_ONLY)' if read_only else ''}")
            if path is None:
                self.create()
        except BaseException:
            self.close()
            raise

    def shut_off(self) -> None:
        """From now on nothing on this connection can reach another file or change a setting."""
        self.rows("SET enable_external_access = false")
        self.rows("SET lock_configuration = true")

    def cursor(self) -> "Database":
        """A second connection to the same database."""
        other = object.__new__(Database)
        other._name = self._name
        with self._told():
            other._connection = self._connection.cursor()
        return other

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        forks.check()
        with self._told():
            return self._connection.execute(sql, list(parameters)).fetchall()

    def chunks(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """The rows in pieces; the connection is busy until the last one."""
        forks.check()
        with self._told():
            cursor = self._connection.execute(sql, list(parameters))
            while rows := cursor.fetchmany(_CHUNK):
                yield rows

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of one SELECT that came from outside. Raises ``LedgerError``."""
        with self._selected(sql, parameters) as cursor:
            rows = cursor.fetchall()
            names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def frame(self, sql: str, parameters: Sequence[Any] = ()) -> "pd.DataFrame":
        """The same as columns. Raises ``LedgerError``."""
        with self._selected(sql, parameters) as cursor:
            return cursor.df()

    @contextlib.contextmanager
    def _selected(self, sql: str, parameters: Sequence[Any]) -> Iterator[duckdb.DuckDBPyConnection]:
        forks.check()
        try:
            statements = self._connection.extract_statements(sql)
            if [str(statement.type) for statement in statements] != ["StatementType.SELECT"]:
                raise LedgerError("the ledger is read with one SELECT; nothing else is possible there")
            yield self._connection.execute(sql, list(parameters))
        except (duckdb.InterruptException, KeyboardInterrupt):
            raise
        except duckdb.Error as error:
            raise LedgerError(f"the ledger cannot answer this query: {_first_line(error)}") from error

    def create(self) -> None:
        self._within_store(*_CREATE, *_GUARD)

    def guard(self) -> None:
        """Put the triggers back as they must be."""
        found = self.rows("SELECT trigger_name FROM duckdb_triggers() WHERE database_name = 'store'")
        dropped = [f'DROP TRIGGER "{name.replace(chr(34), chr(34) * 2)}" ON audit' for (name,) in found]
        self._within_store(*dropped, *_GUARD)

    def _within_store(self, *statements: str) -> None:
        """Triggers must not name the catalog: they are to work under whatever name the file is attached."""
        for statement in ("USE store", *statements, "USE memory"):
            self.rows(statement)

    def table_problems(self) -> list[str]:
        """How the tables differ from those that ``create`` makes, one sentence each."""
        found = dict(self.rows("SELECT table_name, sql FROM duckdb_tables() WHERE database_name = 'store'"))
        expected, _ = _as_created()
        return [
            *(f"the table {name!a} of the ledger is missing" for name in sorted(expected.keys() - found)),
            *(f"there is a table {name[:60]!a} in the ledger that is not its own" for name in found.keys() - expected),
            *(
                f"the table {name!a} was replaced: expected {expected[name]!a}, found {found[name][:200]!a}"
                for name in sorted(found.keys() & expected)
                if found[name] != expected[name]
            ),
        ]

    def guard_problems(self) -> list[str]:
        """Which triggers are not as ``create`` makes them, one sentence each."""
        found = dict(self.rows("SELECT trigger_name, sql FROM duckdb_triggers() WHERE database_name = 'store'"))
        _, expected = _as_created()
        return [
            *(
                f"the trigger {name!a} that keeps the ledger append-only was dropped"
                for name in sorted(expected.keys() - found)
            ),
            *(f"the trigger {name[:60]!a} is not the ledger's" for name in sorted(found.keys() - expected)),
            *(
                f"the trigger {name!a} was changed: found {found[name][:200]!a}"
                for name in sorted(found.keys() & expected)
                if found[name] != expected[name]
            ),
        ]

    def stray_problems(self) -> list[str]:
        """Views and macros somebody put into the file (slow to ask: only for ``verify``)."""
        found = self.rows(
            "SELECT 'view', view_name FROM duckdb_views() WHERE database_name = 'store' AND NOT internal UNION ALL "
            "SELECT DISTINCT 'macro', function_name FROM duckdb_functions() "
            "WHERE database_name = 'store' AND NOT internal"
        )
        return [f"there is a {kind} {name[:60]!a} in the ledger that is not its own" for kind, name in sorted(found)]

    def require_shape(self) -> None:
        """Raises ``IntegrityError`` for a table or trigger that is not as it must be."""
        if problems := self.table_problems():
            raise IntegrityError(f"{problems[0]}: restore {self._name} from a backup; {_VERIFY}")
        if problems := self.guard_problems():
            raise IntegrityError(f"{problems[0]}: {_VERIFY}, then `workbench ledger rebuild`")

    def size(self) -> int:
        """How many entries there are. Raises ``IntegrityError`` if they are not numbered from 0 without a gap."""
        ((count, last),) = self.rows("SELECT count(*), max(seq) FROM store.audit")
        if count != (0 if last is None else last + 1):
            raise IntegrityError(f"the ledger has {count} entries but the last one is number {last}: {_VERIFY}")
        return int(count)

    def copy_to(self, path: Path) -> None:
        """Write the table anew into a file that was not there: nothing that was deleted before comes along."""
        place = str(path).replace("'", "''")
        self.rows(f"ATTACH '{place}' AS fresh")
        self.rows("COPY FROM DATABASE store TO fresh")
        self.rows("DETACH fresh")

    def rollback(self) -> None:
        """Undo what was not committed; in a forked child it is the parent's, and left alone."""
        if not forks.spoiled():
            with contextlib.suppress(duckdb.Error):
                self._connection.execute("ROLLBACK").fetchall()

    def close(self) -> None:
        if not forks.spoiled():
            with self._told():
                self._connection.close()
            forks.forget(self._connection)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            line = _first_line(error)
            for words, number in _REFUSALS.items():
                if words in str(error):
                    with storage_errors(Path(self._name)):
                        raise OSError(number, os.strerror(number)) from error
            if any(words in str(error) for words in _DAMAGE) or isinstance(error, duckdb.FatalException):
                raise IntegrityError(
                    f"{self._name} is damaged or not a ledger: restore it from a backup ({line[:200]!a})"
                ) from error
            kind = StorageError if isinstance(error, duckdb.IOException) else LedgerError
            raise kind(f"{self._name} cannot be used: {line}") from error


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().partition("\n")[0]


@functools.cache
def _as_created() -> tuple[dict[str, str], dict[str, str]]:
    """The tables and the triggers of a new ledger, in the words of this version of DuckDB."""
    database = Database(None)
    tables = database.rows("SELECT table_name, sql FROM duckdb_tables() WHERE database_name = 'store'")
    triggers = database.rows("SELECT trigger_name, sql FROM duckdb_triggers() WHERE database_name = 'store'")
    database.close()
    return dict(tables), dict(triggers)
