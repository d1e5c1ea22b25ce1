-- What people want. Every change leaves an audit row in the same statement. Subjects come as one value, 16 bytes each.

-- name: set_choices
-- Touched also when nothing differs: of two subjects of one person, the newest word holds.
with told as (
    select distinct on (channel, topic) channel, topic, is_wanted
    from unnest(%(channels)s::text[], %(topics)s::text[], %(wanted)s::boolean[])
        with ordinality as told (channel, topic, is_wanted, place)
    order by channel, topic, place desc
), before as (
    select channel, topic, is_wanted from preference
    where organisation_id = %(organisation_id)s and subject = %(subject)s
), kept as (
    insert into preference (organisation_id, subject, channel, topic, is_wanted, source)
    select %(organisation_id)s, %(subject)s, channel, topic, is_wanted, %(source)s
    from told order by channel, topic
    on conflict (organisation_id, subject, channel, topic) do update
    set is_wanted = excluded.is_wanted, source = excluded.source, changed_at = now()
)
insert into audit (actor, action, subject, details)
select %(source)s, 'choose', concat_ws('/', %(organisation_id)s::text, channel, encode(%(subject)s, 'hex')),
       jsonb_build_object('topic', topic, 'before', before.is_wanted, 'after', told.is_wanted)
from told left join before using (channel, topic)
where before.is_wanted is distinct from told.is_wanted

-- name: choices_of
select distinct on (channel, topic) channel, topic, is_wanted from preference
where organisation_id = %(organisation_id)s
  and subject = any(array(
      select substring(%(subjects)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(subjects)s::bytea) / 16 - 1) as n))
order by channel, topic, changed_at desc

-- name: are_few
-- Whether at most so many rows hold what people of an organisation want.
select (select count(*) from (select from preference where organisation_id = %(organisation_id)s
                              limit %(at_most)s + 1) p)
     + (select count(*) from (select from personal_limit where organisation_id = %(organisation_id)s
                              limit %(at_most)s + 1) l) <= %(at_most)s

-- name: stated
-- Subjects that are null are everybody's.
-- The topic's own row before the one for every topic. Where nobody ever chose, the subjects are not even unpacked.
select distinct on (subject) subject, topic = %(topic)s, changed_at, is_wanted from preference
where exists (select from preference where organisation_id = %(organisation_id)s)
  and organisation_id = %(organisation_id)s and channel = %(channel)s and topic in (%(topic)s, '*')
  and (%(subjects)s::bytea is null or subject = any(array(
      select substring(%(subjects)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(subjects)s::bytea) / 16 - 1) as n)))
order by subject, topic = %(topic)s desc

-- name: set_limits
with told as (
    select %(quiet_from)s::smallint as quiet_from, %(quiet_until)s::smallint as quiet_until,
           %(paused_until)s::timestamptz as paused_until, %(weekly_cap)s::smallint as weekly_cap
), before as (
    select quiet_from, quiet_until, paused_until, weekly_cap from personal_limit
    where organisation_id = %(organisation_id)s and subject = %(subject)s
), kept as (
    insert into personal_limit
        (organisation_id, subject, quiet_from, quiet_until, paused_until, weekly_cap, source)
    select %(organisation_id)s, %(subject)s, quiet_from, quiet_until, paused_until, weekly_cap, %(source)s
    from told
    on conflict (organisation_id, subject) do update
    set quiet_from = excluded.quiet_from, quiet_until = excluded.quiet_until,
        paused_until = excluded.paused_until, weekly_cap = excluded.weekly_cap,
        source = excluded.source, changed_at = now()
)
insert into audit (actor, action, subject, details)
select %(source)s, 'limit', concat_ws('/', %(organisation_id)s::text, encode(%(subject)s, 'hex')),
       jsonb_build_object('before', (select to_jsonb(before) from before), 'after', to_jsonb(told))
from told
where (select to_jsonb(before) from before) is distinct from to_jsonb(told)

-- name: limits_of
select subject, quiet_from, quiet_until, paused_until, weekly_cap, changed_at from personal_limit
where exists (select from personal_limit where organisation_id = %(organisation_id)s)
  and organisation_id = %(organisation_id)s
  and (%(subjects)s::bytea is null or subject = any(array(
      select substring(%(subjects)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(subjects)s::bytea) / 16 - 1) as n)))
