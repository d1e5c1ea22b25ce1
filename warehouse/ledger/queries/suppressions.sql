-- Whom we must not reach. Every change leaves an audit row in the same statement; keys only, no addresses.

-- name: suppress
-- The first reason stays, but an opt-out, which people may take back, gives way to any other: somebody who opts
-- out and complains afterwards has complained. Ordered, so that two receivers with the same rows cannot lock each
-- other out.
with told as (
    select distinct on (organisation_id, channel, address_key)
           organisation_id, channel, address_key, reason, source, contact_id
    from unnest(
        %(organisation_ids)s::text[], %(channels)s::text[], %(address_keys)s::bytea[],
        %(reasons)s::text[], %(sources)s::text[], %(contact_ids)s::text[]
    ) with ordinality as told (organisation_id, channel, address_key, reason, source, contact_id, place)
    order by organisation_id, channel, address_key, reason = 'unsubscribed', place
),
added as (
    insert into suppression (organisation_id, channel, address_key, reason, source, contact_id)
    select * from told
    order by organisation_id, channel, address_key
    on conflict (organisation_id, channel, address_key) do update
    set reason = excluded.reason, source = excluded.source,
        contact_id = coalesce(excluded.contact_id, suppression.contact_id)
    where suppression.reason = 'unsubscribed' and excluded.reason <> 'unsubscribed'
    returning organisation_id, channel, address_key, reason, source
)
insert into audit (actor, action, subject, details)
select source, 'suppress', concat_ws('/', organisation_id, channel, encode(address_key, 'hex')),
       jsonb_build_object('reason', reason)
from added

-- name: lift
with removed as (
    delete from suppression
    where organisation_id = %(organisation_id)s and channel = %(channel)s
      and address_key = any(%(address_keys)s::bytea[]) and reason = any(%(reasons)s::text[])
      and (%(sources)s::text[] is null or source = any(%(sources)s::text[]))
    returning organisation_id, channel, address_key, reason
)
insert into audit (actor, action, subject, details)
select %(actor)s, 'lift', concat_ws('/', organisation_id, channel, encode(address_key, 'hex')),
       jsonb_build_object('reason', reason)
from removed

-- name: suppressed
-- The keys come as one value, 16 bytes each: a list of thousands would cost more than the question.
select distinct address_key from suppression
where organisation_id in (%(organisation_id)s, '*') and channel = %(channel)s
  and address_key = any(array(
      select substring(%(address_keys)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(address_keys)s::bytea) / 16 - 1) as n))

-- name: reasons
-- The organisation's own reason before the one that holds for every one.
select distinct on (address_key) address_key, reason from suppression
where organisation_id in (%(organisation_id)s, '*') and channel = %(channel)s
  and address_key = any(%(address_keys)s::bytea[])
order by address_key, organisation_id desc

-- name: standing
-- The organisation's own suppression before the one that holds for every one.
select organisation_id, reason, source from suppression
where organisation_id in (%(organisation_id)s, '*') and channel = %(channel)s
  and address_key = %(address_key)s::bytea
order by organisation_id desc
