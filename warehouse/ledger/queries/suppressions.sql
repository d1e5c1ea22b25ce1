-- Whom we must not reach. Every change leaves an audit row in the same statement; keys only, no addresses.

-- name: suppress
-- The first reason stays, but an opt-out, which people may take back, gives way to any other: somebody who opts
-- out and complains afterwards has complained. Of two scopes the wider holds ('all' sorts before 'marketing').
-- Ordered, so that two receivers with the same rows cannot lock each other out.
with told as (
    select distinct on (organisation_id, channel, address_key)
           organisation_id, channel, address_key, reason, source, contact_id,
           min(scope) over (partition by organisation_id, channel, address_key) as scope
    from unnest(
        %(organisation_ids)s::text[], %(channels)s::text[], %(address_keys)s::bytea[],
        %(reasons)s::text[], %(sources)s::text[], %(contact_ids)s::text[], %(scopes)s::text[]
    ) with ordinality as told (organisation_id, channel, address_key, reason, source, contact_id, scope, place)
    order by organisation_id, channel, address_key, reason = 'unsubscribed', place
), before as (
    select s.organisation_id, s.channel, s.address_key,
           jsonb_build_object('reason', s.reason, 'scope', s.scope) as state
    from suppression s join told using (organisation_id, channel, address_key)
), added as (
    insert into suppression (organisation_id, channel, address_key, reason, source, contact_id, scope)
    select * from told
    order by organisation_id, channel, address_key
    on conflict (organisation_id, channel, address_key) do update
    set reason = case suppression.reason when 'unsubscribed' then excluded.reason else suppression.reason end,
        source = case suppression.reason when 'unsubscribed' then excluded.source else suppression.source end,
        contact_id = coalesce(excluded.contact_id, suppression.contact_id),
        scope = least(excluded.scope, suppression.scope)
    where suppression.reason = 'unsubscribed' and excluded.reason <> 'unsubscribed'
       or excluded.scope < suppression.scope
    returning organisation_id, channel, address_key, reason, scope
)
insert into audit (actor, action, subject, details)
select told.source, 'suppress', concat_ws('/', organisation_id, channel, encode(address_key, 'hex')),
       jsonb_build_object('reason', added.reason, 'before', before.state,
                          'after', jsonb_build_object('reason', added.reason, 'scope', added.scope))
from added
join told using (organisation_id, channel, address_key)
left join before using (organisation_id, channel, address_key)

-- name: lift
with removed as (
    delete from suppression
    where organisation_id = %(organisation_id)s and channel = %(channel)s
      and address_key = any(%(address_keys)s::bytea[]) and reason = any(%(reasons)s::text[])
      and (%(sources)s::text[] is null or source = any(%(sources)s::text[]))
    returning organisation_id, channel, address_key, reason, scope
)
insert into audit (actor, action, subject, details)
select %(actor)s, 'lift', concat_ws('/', organisation_id, channel, encode(address_key, 'hex')),
       jsonb_build_object('reason', reason, 'before', jsonb_build_object('reason', reason, 'scope', scope),
                          'after', null)
from removed

-- name: suppressed
-- The keys come as one value, 16 bytes each: a list of thousands would cost more than the question.
select distinct address_key from suppression
where organisation_id in (%(organisation_id)s, '*') and channel = %(channel)s
  and (scope = 'all' or %(is_marketing)s)
  and address_key = any(array(
      select substring(%(address_keys)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(address_keys)s::bytea) / 16 - 1) as n))

-- name: reasons
-- The organisation's own reason before the one that holds for every one.
select distinct on (address_key) address_key, reason from suppression
where organisation_id in (%(organisation_id)s, '*') and channel = %(channel)s
  and (scope = 'all' or %(is_marketing)s)
  and address_key = any(array(
      select substring(%(address_keys)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(address_keys)s::bytea) / 16 - 1) as n))
order by address_key, organisation_id desc

-- name: standing
-- The organisation's own suppression before the one that holds for every one.
select organisation_id, reason, source, scope from suppression
where organisation_id in (%(organisation_id)s, '*') and channel = %(channel)s
  and address_key = %(address_key)s::bytea
order by organisation_id desc

-- name: listed
select channel, address_key, reason, scope, source, created_at from suppression
where organisation_id = %(organisation_id)s and (%(channel)s::text is null or channel = %(channel)s)
order by channel, address_key
limit %(limit)s
