"""Reading small files into datasets, and looking at what came out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from workbench.events import Dataset, IngestOptions, IngestResult, Mapping, ingest
from workbench.workspace import Workspace


@dataclass(frozen=True)
class Read:
    """An ingest, and its rows as plain tuples."""

    result: IngestResult

    @property
    def dataset(self) -> Dataset:
        return self.result.dataset

    def events(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of all events, in order; stamps as text."""
        listed = ", ".join(f'"{name}"::VARCHAR' if name == "timestamp" else f'"{name}"' for name in columns)
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT {listed} FROM {self.dataset.sql} ORDER BY seq").fetchall()

    def column(self, name: str) -> list[Any]:
        return [row[0] for row in self.events(name)]

    def attributes(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.column("attributes")]

    def labels(self) -> list[tuple[Any, ...]]:
        with duckdb.connect() as connection:
            return connection.execute(
                f"SELECT event_id, label, labelled_at::VARCHAR, labelled_by, reason FROM {self.dataset.labels().sql} "
                "ORDER BY seq"
            ).fetchall()

    def numbers(self) -> list[int]:
        """The record number that each event's generated id carries."""
        return [int(name.split("-")[1]) for name in self.column("event_id")]

    def rejects(self) -> list[tuple[int, str]]:
        """Record number and reason of every line of ``rejects.jsonl``."""
        path = self.dataset.path / "rejects.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(found["record"], found["reason"]) for found in map(json.loads, lines)]


@pytest.fixture
def given(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file for the workbench to read."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / "given" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def read(workspace: Workspace, given: Callable[[str, str | bytes], Path]) -> Callable[..., Read]:
    """Write a file and ingest it; options of ``IngestOptions`` and of ``ingest`` by name, a mapping as a dict."""

    def reading(file: str, content: str | bytes, /, **options: Any) -> Read:
        mapping = options.pop("mapping", None)
        stated = {key: options.pop(key) for key in ("year", "timezone", "encoding") if key in options}
        model = Mapping.model_validate(mapping) if isinstance(mapping, dict) else mapping
        return Read(ingest(workspace, [str(given(file, content))], options=IngestOptions(model, **stated), **options))

    return reading


@pytest.fixture
def reads(workspace: Workspace) -> Callable[..., Read]:
    """Ingest files that are there."""

    def reading(*files: object, **options: Any) -> Read:
        stated = {key: options.pop(key) for key in ("mapping", "year", "timezone", "encoding") if key in options}
        return Read(ingest(workspace, [str(file) for file in files], options=IngestOptions(**stated), **options))

    return reading
