"""`reflexd model publish|keys|rotate|refresh` at a repository, `history|rollback|hold` on a box."""

from __future__ import annotations

from pathlib import Path

import click

from agent.options import config_beside, json_option
from agent.update.repository.roles import OFFLINE, ROLES

_repo = click.option("--repo", type=click.Path(path_type=Path), required=True, help="Folder of the repository.")
_keys = click.option("--keys", type=click.Path(path_type=Path), help="Folder of the keys.  [default: REPO-keys]")


@click.command("publish")
@click.argument("package", type=click.Path(path_type=Path))
@_repo
@_keys
@click.option("--version", default="", help="Name of this version.  [default: the manifest's]")
@click.option("--bases", type=click.IntRange(0, 20), default=3, show_default=True, help="Differences from so many.")
@click.option("--dry-run", is_flag=True, help="Print the sizes only; needs no keys.")
@json_option
def publish_command(
    package: Path, repo: Path, keys: Path | None, version: str, bases: int, dry_run: bool, as_json: bool
) -> None:
    """Put a version of PACKAGE, a folder, into a signed repository; a new one is made where there is none."""
    from agent.update.repository import publish

    wanted = publish.request(package, version, bases)
    made = publish.make(wanted, repo) if dry_run else publish.publish(wanted, repo, keys or _beside(repo))
    click.echo(publish.as_json(wanted, made) if as_json else publish.as_text(wanted, made))
    if not dry_run and not as_json:
        click.echo(f"signed in {repo}; boxes trust it by {repo / 'metadata' / '1.root.json'} (update.root)")


@click.command("keys")
@click.argument("folder", type=click.Path(path_type=Path))
def keys_command(folder: Path) -> None:
    """Make the four keys of a repository in FOLDER. Keep root.pem and targets.pem away from the server, with a copy."""
    from agent.update.repository import signing

    for path in signing.make(folder):
        where = "offline, with a copy elsewhere" if path.stem in OFFLINE else "where 'model refresh' runs daily"
        click.echo(f"{path}   keep it {where}")


@click.command("rotate")
@click.argument("role", type=click.Choice(ROLES))
@_repo
@_keys
def rotate_command(role: str, repo: Path, keys: Path | None) -> None:
    """Replace the key of ROLE, lost or stolen; the root key signs that, and boxes follow by themselves."""
    from agent.update import library

    library.check_installed()
    from agent.update.repository.tuf_repository import Repository

    folder = keys or _beside(repo)
    number = Repository(repo, folder).rotate(role)
    click.echo(f"{repo}: root.json {number} has the new key {folder / role}.pem; the old one is beside it")


@click.command("refresh")
@_repo
@_keys
def refresh_command(repo: Path, keys: Path | None) -> int:
    """Sign again what ends soon: daily, where the repository is served. Exit code 1 where an offline key is needed."""
    from agent.update import library

    library.check_installed()
    from agent.update.repository import tuf_repository

    repository = tuf_repository.Repository(repo, keys or _beside(repo))
    click.echo(f"{repo}: signed again: {', '.join(repository.refresh())}")
    ends = repository.ends()
    for role, end in ends.items():
        click.echo(f"  {role} until {end:%Y-%m-%d}")
    late = [
        role for role, days in tuf_repository.RENEWED.items() if (ends[role] - tuf_repository.now()).days < days / 2
    ]
    for role in late:
        click.echo(f"bring {role}.pem and run this again before it ends: then boxes take no update", err=True)
    return 1 if late else 0


def _beside(repo: Path) -> Path:
    return repo.with_name(repo.resolve().name + "-keys")


@click.command("history")
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@config_beside("names")
@json_option
def history_command(names: tuple[str, ...], path: Path, as_json: bool) -> None:
    """Show which versions of the models are on this box, in use, rejected, and how it came to that."""
    from agent.update import person

    person.show_history(path, names, as_json)


@click.command("rollback")
@click.argument("name", metavar="MODEL")
@config_beside("name")
@click.option("--reason", default="by hand", show_default=True, help="For the history.")
def rollback_command(name: str, path: Path, reason: str) -> int:
    """Go back from the version of MODEL that is in use or on trial; it is not tried again."""
    from agent.update import person

    return person.roll_back(path, name, reason)


@click.command("hold")
@click.argument("name", metavar="MODEL")
@click.argument("version", required=False)
@config_beside("name")
@click.option("--release", is_flag=True, help="Take newer versions again.")
def hold_command(name: str, version: str | None, path: Path, release: bool) -> None:
    """Pin MODEL to VERSION: no other one is fetched or tried; without VERSION the one in use."""
    from agent.update import person

    if release and version:
        raise click.UsageError("--release takes no VERSION")
    person.hold(path, name, version, release)


COMMANDS = (
    *(publish_command, keys_command, rotate_command, refresh_command),
    *(history_command, rollback_command, hold_command),
)
