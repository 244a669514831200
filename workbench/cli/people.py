"""``workbench people``: add, list, grant, revoke, require."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from workbench.cli.console import custody_of, output, print_json, say, working
from workbench.cli.passphrases import Passphrase, RootKeyOption, RootPassphraseFile, ask
from workbench.custody import Custody
from workbench.errors import InputError, NotFoundError, nearest
from workbench.lifecycle import ROLES, People, Person

__all__ = ["app"]

app = typer.Typer(help="People who decide: their keys and roles.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsOption = Annotated[str, typer.Option("--as", metavar="PERSON", help="Who says so: an owner, by pseudonym or name.")]
PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="Pseudonym (reviewer-1) or name.")]
RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", help=f"{', '.join(ROLES)}.")]
OwnerFile = Annotated[
    Path | None, typer.Option("--as-passphrase-file", help="Read the owner's passphrase from this file.")
]


def _known(role: str) -> str:
    if role not in ROLES:
        raise InputError(f"{role[:40]!r} is not a role{nearest(role, ROLES)}")
    return role


@app.command("add")
def add_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person's name; it never enters the ledger.")],
    role: Annotated[
        list[str] | None, typer.Option("--role", help=f"What the person may do: {', '.join(ROLES)}; several times.")
    ] = None,
    pseudonym: Annotated[
        str | None, typer.Option(help="How the ledger calls them, for good; otherwise by role, such as reviewer-1.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--as", metavar="PERSON", help="The owner who grants the roles; not for the first.")
    ] = None,
    root_key: RootKeyOption = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="Read the new person's passphrase from this file.")
    ] = None,
    as_passphrase_file: OwnerFile = None,
    root_passphrase_file: RootPassphraseFile = None,
    json: JsonOption = False,
) -> None:
    """Enrol a person: make their key, and grant them roles. The first one is an owner."""
    custody = custody_of(context)
    roles, demo = [_known(one) for one in role or []], custody.store.demo
    people = People(custody)
    people.require_granter(roles, by)
    root = custody.root_signer(ask(Passphrase.ROOT, file=root_passphrase_file, demo=demo), root_key)
    owner = "" if by is None else ask(Passphrase.OWNER, file=as_passphrase_file, demo=demo)
    passphrase = ask(Passphrase.PERSON, file=passphrase_file, new=True, demo=demo)
    with working("making the key"):
        person = people.enrol(
            name, passphrase=passphrase, root=root, roles=roles, pseudonym=pseudonym, by=by, by_passphrase=owner
        )
    if json:
        print_json(person.as_dict())
        return
    say(f"{person.pseudonym}, {' and '.join(person.roles) or 'without a role'}")
    say("  they sign as this pseudonym; their name stands beside the ledger, where it can be erased")


@app.command("list")
def list_command(context: typer.Context, json: JsonOption = False) -> None:
    """List everybody: pseudonym, name, roles, key."""
    custody = custody_of(context)
    people = People(custody).all()
    if json:
        print_json([person.as_dict() for person in people])
        return
    if not people:
        raise NotFoundError("nobody is enrolled yet: `workbench people add NAME --role owner` comes first")
    table = Table("person", "name", "roles", "enrolled", "key", box=None)
    for person in people:
        table.add_row(
            person.pseudonym,
            "erased" if person.name is None else person.name,
            ", ".join(person.roles) or "none",
            person.enrolled[:10],
            "none in use" if person.certificate_sha256 is None else person.certificate_sha256[:16],
        )
    output.print(table, markup=False)


@app.command("grant")
def grant_command(
    context: typer.Context,
    person: PersonArgument,
    role: RoleArgument,
    by: Annotated[
        str | None, typer.Option("--as", metavar="PERSON", help="The owner who says so; without one, the root does.")
    ] = None,
    root_key: RootKeyOption = None,
    as_passphrase_file: OwnerFile = None,
    root_passphrase_file: RootPassphraseFile = None,
) -> None:
    """Give a person a role, signed by an owner (where there is none: the role owner, by the root)."""
    custody = custody_of(context)
    people, demo = People(custody), custody.store.demo
    if by is None:
        if _known(role) != "owner":
            raise InputError("--as PERSON is needed: an owner grants this role")
        root = custody.root_signer(ask(Passphrase.ROOT, file=root_passphrase_file, demo=demo), root_key)
        changed = people.make_owner(person, root=root)
    else:
        changed = _change(custody, people.grant, person, role, by, as_passphrase_file)
    _tell(changed)


@app.command("revoke")
def revoke_command(
    context: typer.Context,
    person: PersonArgument,
    role: RoleArgument,
    by: AsOption,
    as_passphrase_file: OwnerFile = None,
) -> None:
    """Take a role from a person, signed by an owner. What they decided before stands."""
    custody = custody_of(context)
    _tell(_change(custody, People(custody).revoke, person, role, by, as_passphrase_file))


def _change(
    custody: Custody, change: Callable[..., Person], person: str, role: str, by: str, file: Path | None
) -> Person:
    _known(role)
    passphrase = ask(Passphrase.OWNER, file=file, demo=custody.store.demo)
    with working("signing"):
        return change(person, role, by=by, passphrase=passphrase)


def _tell(person: Person) -> None:
    say(f"{person.pseudonym} is now {' and '.join(person.roles) or 'without a role'}")


@app.command("require")
def require_command(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="policy, model or report.")],
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="How many different people must approve, 1 to 20.")],
    by: AsOption,
    as_passphrase_file: OwnerFile = None,
) -> None:
    """Say how many people must approve before something is ACTIVE, signed by an owner."""
    custody = custody_of(context)
    passphrase = ask(Passphrase.OWNER, file=as_passphrase_file, demo=custody.store.demo)
    with working("signing"):
        People(custody).require(kind, number, by=by, passphrase=passphrase)
    say(f"from now on {number} {'person' if number == 1 else 'different people'} must approve each {kind}")
