"""Who is no contact any more counts for nobody within seconds: the contacts that count them are hidden until they are counted anew."""

from compliance.act import Upkeep
from compliance.vocabulary import UserId
from consent import agreeing
from scoring.buckets import bucket_of
from scoring.store import locks

WAITING = """
select l.id, l.user_id, l.grant_id, g.recipient, g.bureau, g.purpose from scoring_contact_left l
left join consent_grant g on g.id = l.grant_id order by l.id limit $1
"""
ENDS = """
select other as end_of from scoring_relation where user_id = $1 union select user_id from scoring_relation where other = $1
"""
HIDE = """
update scoring_feature set contacts_for = '{}'
where user_id = any($1::uuid[]) and contacts_for is not null
  and ($2::text is null or $2 = any(contacts_for))
"""
DONE = "delete from scoring_contact_left where id = any($1::bigint[])"


async def hide(upkeep: Upkeep, limit: int) -> int:
    """Hide the contacts of whoever was in touch with people who left, so many of these at once; how many.

    Whoever's features are computed just now waits on: what was read before somebody left is kept first.
    """
    done = []
    for row in await upkeep.db.execute_query_dict(WAITING, [limit]):
        users, use = [UserId(row["user_id"])], None
        if row["grant_id"]:
            ends = await upkeep.db.execute_query_dict(ENDS, [row["user_id"]])
            users = [UserId(each["end_of"]) for each in ends]
            use = agreeing.named(row["recipient"], row["bureau"], row["purpose"])
        if all([await locks.alone_now(upkeep, bucket) for bucket in sorted(set(map(bucket_of, users)))]):
            await upkeep.db.execute_query(HIDE, [users, use])
            done.append(row["id"])
    await upkeep.db.execute_query(DONE, [done])
    return len(done)
