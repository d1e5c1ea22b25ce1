-- What the rules of verdicts judge by, and what becomes of their word. `to_judge_from` is a view of core.events, or of
-- what core.events will be; `touched_messages` has one message_id a row. Only clicks of one client are evidence across
-- messages: they are found by stretches of `$seconds`, the same one or one beside it. More is looked at than need be.

-- name: events_of_touched
create or replace temp table events_to_judge as
select event_id, message_id, contact_id, kind, occurred_at, received_at, url, user_agent, ip_key, is_head, is_prefetch,
       is_told_machine, verdict, verdict_score, verdict_reasons, verdict_version
from to_judge_from semi join touched_messages using (message_id)
where kind in ('delivered', 'opened', 'clicked', 'trap')

-- name: clicks_beside
-- What the clients that clicked in these messages clicked in others, where together they make a crowd.
create or replace temp table clicks_beside as
with own as (
    select message_id, ip_key, epoch_us(occurred_at) // ($seconds * 1000000) as stretch
    from events_to_judge where kind = 'clicked' and ip_key is not null
),
near as (
    select distinct ip_key, stretch + step as stretch from own cross join (values (-1), (0), (1)) as steps (step)
),
others as (
    select e.* from to_judge_from e
    semi join near on near.ip_key = e.ip_key and near.stretch = epoch_us(e.occurred_at) // ($seconds * 1000000)
    where e.kind = 'clicked' and e.message_id is not null
      and e.message_id not in (select message_id from events_to_judge)
),
crowds as (
    select ip_key from (select ip_key, message_id from own union all select ip_key, message_id from others)
    group by ip_key having count(distinct message_id) >= $recipients
)
select event_id, message_id, contact_id, kind, occurred_at, received_at, url, user_agent, ip_key, is_head, is_prefetch,
       is_told_machine
from others semi join crowds using (ip_key)

-- name: add_messages_beside
insert into events_to_judge
select event_id, message_id, contact_id, kind, occurred_at, received_at, url, user_agent, ip_key, is_head, is_prefetch,
       is_told_machine, verdict, verdict_score, verdict_reasons, verdict_version
from to_judge_from
where message_id in (select message_id from clicks_beside) and kind in ('delivered', 'opened', 'clicked', 'trap')

-- name: part_to_judge
-- Whole messages, and what else their clients clicked. In parts, so that memory stays flat whatever is judged.
-- Of the hash's own type: the remainder by a smaller one takes fifty times as long.
with clients as (
    select distinct ip_key from events_to_judge
    where kind = 'clicked' and ip_key is not null and hash(message_id) % $parts::ubigint = $part
)
select *, true as is_asked from events_to_judge where hash(message_id) % $parts::ubigint = $part
union all by name
select * exclude (verdict, verdict_score, verdict_reasons, verdict_version), false as is_asked
from events_to_judge semi join clients using (ip_key)
where kind = 'clicked' and hash(message_id) % $parts::ubigint <> $part
union all by name
select *, false as is_asked from clicks_beside semi join clients using (ip_key)

-- name: no_changes
create or replace temp table changed_verdicts (
    event_id varchar, message_id varchar, verdict varchar, verdict_score double, verdict_reasons varchar[],
    verdict_version integer
)

-- name: add_changes
insert into changed_verdicts by name from changes

-- name: write_changes
update core.events e
set verdict = c.verdict, verdict_score = c.verdict_score, verdict_reasons = c.verdict_reasons,
    verdict_version = c.verdict_version, load_id = coalesce($load_id, e.load_id)
from changed_verdicts c
where e.event_id = c.event_id

-- name: events_to_come
-- core.events as it will be.
create or replace temp view events_to_come as
select * from core.events union all by name select * exclude (is_known) from placed

-- name: judge_placed
create or replace temp table judged_placed as
select p.* exclude (verdict, verdict_score, verdict_reasons, verdict_version),
       coalesce(c.verdict, p.verdict) as verdict, c.verdict_score, c.verdict_reasons, c.verdict_version
from placed p left join changed_verdicts c using (event_id);
drop table placed;
alter table judged_placed rename to placed

-- name: changes_elsewhere
delete from changed_verdicts where event_id in (select event_id from placed)

-- name: messages_of_day
create or replace temp table verdicts_of_day as
select distinct message_id from core.events
where kind in ('opened', 'clicked') and message_id is not null and occurred_at >= $day and occurred_at < $next_day

-- name: outdated_days
-- Days (UTC) with opens or clicks that an older version of the rules judged, or none.
select distinct occurred_at::timestamp::date as day from core.events
where kind in ('opened', 'clicked') and message_id is not null and verdict_version is distinct from $version
order by day

-- name: verdicts_by_kind
-- For the asset's metadata and for reports: both totals.
select kind, verdict, count(*) as events, count(distinct message_id) as messages, round(avg(verdict_score), 3) as mean_score
from core.events where kind in ('opened', 'clicked')
group by kind, verdict order by kind, verdict

-- name: reasons_by_rule
select kind, reason as rule_id, count(*) as events
from (select kind, unnest(verdict_reasons) as reason from core.events where kind in ('opened', 'clicked'))
group by all order by kind, events desc, rule_id
