-- How many messages somebody may get lately.

-- name: put_caps
-- The whole list is replaced; nothing happens when it is the same.
with told as (
    select channel, topic, messages, hours
    from unnest(%(channels)s::text[], %(topics)s::text[], %(messages)s::integer[], %(hours)s::integer[])
        as told (channel, topic, messages, hours)
), before as (
    select channel, topic, messages, hours from frequency_cap where organisation_id = %(organisation_id)s
), removed as (
    delete from frequency_cap c
    where organisation_id = %(organisation_id)s
      and not exists (select from told t where (t.channel, t.topic, t.hours) = (c.channel, c.topic, c.hours))
), kept as (
    insert into frequency_cap (organisation_id, channel, topic, messages, hours)
    select %(organisation_id)s, channel, topic, min(messages), hours from told
    group by channel, topic, hours order by channel, topic, hours
    on conflict (organisation_id, channel, topic, hours) do update set messages = excluded.messages
), change as (
    select (select jsonb_agg(before order by channel, topic, hours) from before) as before,
           (select jsonb_agg(told order by channel, topic, hours) from told) as after
)
insert into audit (actor, action, subject, details)
select %(actor)s, 'caps', %(organisation_id)s, jsonb_build_object('before', before, 'after', after)
from change where before is distinct from after

-- name: caps
select organisation_id, channel, topic, messages, hours from frequency_cap
where organisation_id = any(%(organisation_ids)s::text[])
order by organisation_id, channel, topic, hours

-- name: lock
-- In one order, so that nobody waits for each other.
select pg_advisory_xact_lock(hashtextextended('caps/' || organisation_id, 0))
from unnest(%(organisation_ids)s::text[]) as organisation_id

-- name: note_sent
-- Who has had enough comes back; what goes to the others is kept where a cap counts it. Keys and ids come as one value
-- each, 16 bytes per message.
with asked as materialized (
    select substring(%(address_keys)s::bytea from 16 * place::integer - 15 for 16) as address_key,
           substring(%(message_ids)s::bytea from 16 * place::integer - 15 for 16) as message_id,
           weekly_cap
    from unnest(%(weekly_caps)s::smallint[]) with ordinality as asked (weekly_cap, place)
), cap as materialized (
    select topic, messages, hours from frequency_cap
    where organisation_id = %(organisation_id)s and channel = %(channel)s and topic in ('*', %(topic)s)
), capped as materialized (
    select a.message_id
    from asked a
    where exists (
        select from (select topic, messages, hours from cap
                     union all select '*', a.weekly_cap, 7 * 24 where a.weekly_cap is not null) c
        where c.messages <= (
            select count(*) from recent_message r
            where r.organisation_id = %(organisation_id)s and r.channel = %(channel)s
              and r.address_key = a.address_key and r.message_id <> a.message_id
              and r.sent_at > now() - make_interval(hours => c.hours) and c.topic in ('*', r.topic)))
), noted as (
    insert into recent_message (organisation_id, channel, address_key, message_id, topic)
    select %(organisation_id)s, %(channel)s, address_key, message_id, %(topic)s
    from asked
    where (weekly_cap is not null or exists (select from cap))
      and message_id not in (select message_id from capped)
    on conflict do nothing
), taken_back as (
    delete from recent_message r using asked a, capped
    where a.message_id = capped.message_id
      and r.organisation_id = %(organisation_id)s and r.channel = %(channel)s
      and r.address_key = a.address_key and r.message_id = a.message_id
)
select message_id from capped

-- name: purge
delete from recent_message where sent_at < now() - interval '744 hours'
