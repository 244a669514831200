"""A scenario: everything that a simulation is made of but the seed, as data with a digest."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict

from workbench.documents import read_document
from workbench.errors import InputError
from workbench.files import canonical_json, sha256_bytes
from workbench.simulation.clients import Clients, ClosedLoop
from workbench.simulation.faults import FAULTS, Fault
from workbench.simulation.limits import LimitSpec
from workbench.simulation.server import Server
from workbench.simulation.traffic import SOURCES, Source
from workbench.simulation.values import Described, Name, Part, Period, Seconds, read

__all__ = ["Scenario"]

_CLIENTS: Final[dict[str, type[Clients]]] = {kind.kind(): kind for kind in (Clients, ClosedLoop)}


class _File(BaseModel):
    """What a scenario's file must have for the rest to be read."""

    model_config = ConfigDict(extra="allow")

    name: Any
    duration: Any
    server: Any


@dataclass(frozen=True)
class Scenario(Described):
    """Traffic, clients, limits, a server and faults, for ``duration`` seconds; measures leave out ``warm_up`` seconds.

    Requests come until ``duration``, and what they lead to is followed to its end. A closed loop makes its own
    traffic, so it has no other. Raises ``InputError`` for parts that do not go together.

    >>> from workbench.simulation import Exponential, Poisson
    >>> calm = Scenario("calm", 60, traffic=(Poisson(50),), server=Server(1, Exponential(0.01)))
    >>> Scenario.from_dict(calm.as_dict()) == calm
    True
    """

    name: Name
    duration: Period
    _: KW_ONLY
    warm_up: Seconds = 0.0
    traffic: tuple[Source, ...] = ()
    clients: Clients = field(default_factory=Clients)
    limits: tuple[LimitSpec, ...] = ()
    server: Server
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up >= self.duration:
            raise InputError(
                f"scenario {self.name!r}: its warm-up of {self.warm_up:g} s leaves nothing of its {self.duration:g} s"
            )
        closed = isinstance(self.clients, ClosedLoop)
        if closed == bool(self.traffic):
            raise InputError(
                f"scenario {self.name!r}: "
                + ("a closed loop makes its own traffic: leave out the other" if closed else "it has no traffic")
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        given = dict(values)
        if "traffic" in given:
            given["traffic"] = _parts(SOURCES, given["traffic"], "traffic")
        if "faults" in given:
            given["faults"] = _parts(FAULTS, given["faults"], "faults")
        if isinstance(given.get("clients"), Mapping):
            given["clients"] = read(_CLIENTS, {"kind": "clients", **given["clients"]}, what="clients")
        return super().from_dict(given)

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """From a file. Raises ``InputError`` for one that is missing, no YAML, or no scenario; the message says where.

        Paths in it are relative to the folder in which the program runs.
        """
        path = Path(path)
        found = read_document(path, _File, what="scenario", error=InputError)
        try:
            return cls.from_dict({**found.model_dump(), **(found.model_extra or {})})
        except InputError as error:
            raise type(error)(f"scenario {path.name!r}: {error}") from error

    @property
    def sha256(self) -> str:
        """The digest of all of it, in hexadecimal: two scenarios with the same one are the same, but for the order of
        keys in their files."""
        return sha256_bytes(canonical_json(self.as_dict()))


def _parts(kinds: Mapping[str, type[Part]], values: object, what: str) -> tuple[Part, ...]:
    if not isinstance(values, list | tuple):
        raise InputError(f"scenario: {what!r} is a list, not {values!r:.60}")
    return tuple(read(kinds, one, what=f"{what} {place}") for place, one in enumerate(values, start=1))
