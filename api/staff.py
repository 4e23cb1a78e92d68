"""Staff: the operator's and the regulator's people, and what each may do."""

from compliance import ids
from compliance.act import Act, Upkeep
from compliance.refusals import NotFound
from compliance.vocabulary import Staff, StaffId, StaffRole


async def admit(act: Act, name: str, role: StaffRole) -> Staff:
    """Give a member of staff a role; who is known by name stays as they are. Records `staff_admitted`."""
    rows = await act.db.execute_query_dict(
        """insert into api_staff (id, name, role) values ($1, $2, $3)
           on conflict (name) do update set name = excluded.name returning id, role""",
        [ids.random_id(), name, role],
    )
    staff = Staff(StaffId(rows[0]["id"]), StaffRole(rows[0]["role"]))
    act.record("staff_admitted", {"staff": ids.public("stf", staff.staff), "role": staff.role})
    return staff


async def named(upkeep: Upkeep, name: str) -> Staff:
    """The member of staff of a name; `NotFound` where there is none."""
    rows = await upkeep.db.execute_query_dict("select id, role from api_staff where name = $1", [name])
    if not rows:
        raise NotFound(f"no member of staff is called {name!r}: xinqiao staff add")
    return Staff(StaffId(rows[0]["id"]), StaffRole(rows[0]["role"]))
