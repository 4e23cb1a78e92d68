"""Tables: walls around each tenant, a word for each end of a grant, and one story told by SQL and Python."""

import importlib

import pytest
from support import seeds, world
from tortoise.models import Model

from compliance import database as databases
from compliance import migrate
from compliance.migrate import ROLES, Migration, MigrationRefused
from consent import endings, holdings

OPEN: dict[str, str] = {
    "migration": "which SQL ran; no role may read it",
    "compliance_unplaced": "ids of facts that wait for their place; partners may add and not read",
    "compliance_tile": "hashes of commitments, public",
    "compliance_checkpoint": "signed heads, public",
    "compliance_person_map": "roots and hashes, shown to people as their proof",
    "compliance_person_map_entry": "blinded indexes and commitments, of no use without a person's key",
    "compliance_tenant_tag": "random tags, read by the platform alone",
    "consent_notice": "the published texts",
    "consent_transition": "the published life of a grant",
    "consent_effect_transition": "the published steps of a recipient after the end",
    "scoring_model": "which models there are is no secret",
    "scoring_retention": "when old events were deleted, and how many",
    "scoring_snapshot": "when features were computed, and of how many people",
    "scoring_gone": "how many scores of a day were deleted; people add and do not read",
    "scoring_licence": "which licences there are is no secret",
    "partners_partner": "the directory of licensed institutions",
    "partners_product": "published terms",
    "partners_monitoring": "counts and shares of a day, read by the platform alone",
    "partners_seen_through": "counts of ten loans and more, read by the platform alone",
    "api_staff": "read by the upkeep role alone, before anybody is known",
    "api_link": "hashes; likewise",
    "api_session": "hashes; likewise",
    "api_spent": "hashes; likewise",
    "api_rate": "how often was called this minute; likewise",
    "api_password": "names and hashes of fictional people; likewise",
    "api_sign_in_try": "hashes and counts; likewise",
}
BELOW_CONSENT = {
    "compliance_fact": "facts are only added",
    "compliance_reply": "checked again before each repeat, forgotten after a day",
}
DEFINERS = {
    "consent_people_of_operator",
    "compliance_leaves",
    "compliance_person_map_places",
    "consent_deletion_effects",
    "consent_deletion_of",
    "consent_sets_used",
}
"""Functions that act with their owner's rights: each is one statement, and each is listed."""


async def tables(owner) -> list[str]:
    rows = await owner.fetch("select tablename from pg_tables where schemaname = 'public' order by 1")
    return [row["tablename"] for row in rows]


async def test_every_table_has_its_walls_or_a_reason(owner):
    walled = await owner.fetch(
        """select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
           and relrowsecurity and relforcerowsecurity"""
    )
    names = {row["relname"] for row in walled}
    assert set(await tables(owner)) - names == set(OPEN)


async def test_every_role_that_is_let_in_has_a_policy(owner):
    """A grant without a policy reads nothing, a policy without a grant is dead: both are mistakes."""
    let_in = await owner.fetch(
        """select c.relname, r.rolname from pg_class c, pg_roles r
           where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relrowsecurity
             and r.rolname = any($1) and (
               has_any_column_privilege(r.oid, c.oid, 'select, insert, update')
               or has_table_privilege(r.oid, c.oid, 'delete'))""",
        list(ROLES),
    )
    walls = await owner.fetch(
        """select tablename, unnest(roles) as role from pg_policies
           where schemaname = 'public' and policyname <> 'of_owner'"""
    )
    assert {(r["tablename"], r["role"]) for r in walls} == {(r["relname"], r["rolname"]) for r in let_in}


async def test_the_application_alone_may_do_nothing(owner, database):
    for table in await tables(owner):
        for right in ("select", "insert", "update", "delete", "truncate"):
            allowed = await owner.fetchval(
                "select has_table_privilege($1, $2, $3)", database.user, table, right
            )
            assert not allowed, f"{database.user} may {right} {table} without entering a role"
            anybody = "select has_table_privilege('public', $1, $2)"
            assert not await owner.fetchval(anybody, table, right)


async def test_no_role_may_truncate_or_alter_facts(owner):
    for role in ROLES:
        for right in ("update", "delete", "truncate", "trigger"):
            for table in ("compliance_fact", "compliance_log", "compliance_checkpoint"):
                assert not await owner.fetchval("select has_table_privilege($1, $2, $3)", role, table, right)


async def test_functions_with_their_owners_rights_are_listed_and_closed(owner):
    rows = await owner.fetch(
        """select proname, proconfig, has_function_privilege('public', oid, 'execute') as anybody
           from pg_proc where pronamespace = 'public'::regnamespace and prosecdef"""
    )
    assert {row["proname"] for row in rows} == DEFINERS
    for row in rows:
        assert row["proconfig"] == ["search_path=public, pg_temp"]
        assert not row["anybody"]


async def test_every_table_that_rests_on_a_grant_says_what_its_end_means(owner):
    rows = await owner.fetch(
        "select table_name from information_schema.columns where column_name = 'grant_id' and table_schema = 'public'"
    )
    resting = {row["table_name"] for row in rows}
    declared, kept = set(endings.declared()), set(endings.kept())
    assert resting == (declared | kept | set(BELOW_CONSENT))
    assert all(len(reason) > 20 for reason in endings.kept().values())


ABOUT_NOBODY = set(OPEN) - {"api_link", "api_session", "api_password"} | {
    "api_client",
    "consent_capsule",
    "consent_erased",
    "partners_prescreen",
    "partners_recall",
    "scoring_cutoff",
}
"""Every other table is about people, by whatever key: a new one is declared beside its table, or stands here."""


async def test_every_table_is_about_people_or_about_nobody(owner):
    for package in migrate.PACKAGES:
        importlib.import_module(f"{package}.tables")
    declared = {holding.table for holding in holdings.declared()}
    assert not declared & ABOUT_NOBODY
    assert set(await tables(owner)) == declared | ABOUT_NOBODY


async def test_every_table_about_people_says_what_a_deletion_does_to_it(owner):
    rows = await owner.fetch(
        """select distinct table_name from information_schema.columns
           where table_schema = 'public' and (column_name in ('user_id', 'person') or table_name = 'consent_person')"""
    )
    for package in migrate.PACKAGES:
        importlib.import_module(f"{package}.tables")
    about = {row["table_name"] for row in rows} | {"consent_use", "api_authorization"}
    assert about == {holding.table for holding in holdings.declared()}
    untouched = [holding for holding in holdings.declared() if holding.statement is None]
    assert all(len(holding.stays) > 20 for holding in untouched)


def declared_tables() -> list[type[Model]]:
    found = []
    for package in migrate.PACKAGES:
        module = importlib.import_module(f"{package}.tables")
        found += [
            k
            for k in vars(module).values()
            if isinstance(k, type) and issubclass(k, Model) and k is not Model
        ]
    return found


@pytest.mark.parametrize("row", declared_tables(), ids=lambda row: row.__name__)
@pytest.mark.usefixtures("ground")
async def test_python_and_sql_tell_the_same_story(owner, row):
    rows = await owner.fetch(
        """select column_name, is_nullable from information_schema.columns
           where table_schema = 'public' and table_name = $1""",
        row._meta.db_table,
    )
    in_sql = {r["column_name"]: r["is_nullable"] == "YES" for r in rows}
    columns = row._meta.fields_db_projection.items()
    in_python = {column: row._meta.fields_map[name].null for name, column in columns}
    assert in_python == in_sql


async def test_tables_are_named_after_their_package(owner):
    for table in await tables(owner):
        assert table == "migration" or table.split("_")[0] in migrate.PACKAGES


async def test_migrating_a_filled_database_changes_nothing(database, home, owner):
    async with world.opened(database, home) as here:
        await seeds.planted(here)
    before = {table: await owner.fetchval(f"select count(*) from {table}") for table in await tables(owner)}
    assert before["compliance_fact"] > 20
    assert await databases.prepare(database) == []
    assert {
        table: await owner.fetchval(f"select count(*) from {table}") for table in await tables(owner)
    } == before


async def test_a_changed_or_missing_file_is_refused(database, owner, monkeypatch):
    right = migrate.declared()
    changed = [Migration(m.package, m.number, m.name, m.sql + "-- ") for m in right]
    for story in (changed, right[:-1]):
        monkeypatch.setattr(migrate, "declared", lambda story=story: story)
        with pytest.raises(MigrationRefused):
            await databases.prepare(database)
    broken = [
        *right,
        Migration("api", 99, "0099_broken.sql", "create table api_half (a int); select nonsense"),
    ]
    monkeypatch.setattr(migrate, "declared", lambda: broken)
    with pytest.raises(Exception, match="nonsense"):
        await databases.prepare(database)
    assert "api_half" not in await tables(owner)


def test_a_gap_in_the_numbers_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0002_late.sql").write_text("select 1")
    monkeypatch.setattr(migrate, "files", lambda _: tmp_path)
    with pytest.raises(MigrationRefused, match="expected number 0001"):
        migrate.declared()
