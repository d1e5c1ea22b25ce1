/* ---
description: At which hours of their own day contacts read, fading with time. Feeds the next plan.
grain: one contact that is not erased and hour of the day in which it ever first read a message
key: [contact_id, local_hour]
group: engagement
owner: team:analysts
incremental: contact_id
chart: {name: contacts_by_local_hour, of: count(distinct contact_id), over: local_hour}
columns:
  contact_id: {type: varchar, description: The contact., tests: [not_null, {relation: core.contacts.contact_id}]}
  local_hour:
    type: tinyint
    unit: hour
    description: 0 to 23 by the clock the contact had when the message was planned; by UTC where its time zone was not known.
    tests: [not_null]
  weight:
    type: double
    unit: messages
    description: >-
      Messages that a person first opened or clicked in that hour, each counted once and halved for every 90 days since.
    tests: [not_null]
  computed_at: {type: timestamptz, description: When the row was computed., tests: [not_null]}
checks:
  hours_of_a_day: select * from core.send_hours where local_hour not between 0 and 23
  weights_are_positive: select * from core.send_hours where weight < 0
--- */

-- name: changed
-- Days count: with a new one everybody is computed again.
select contact_id from core.message_status where load_id > $after and contact_id is not null
union
select contact_id from core.send_hours where computed_at < time_bucket(interval 1 day, $now::timestamptz)

-- name: model
-- Clocks differ by multiples of a quarter of an hour: one conversion for each quarter and zone serves all who read then.
with read as (
    select contact_id, time_zone, epoch(least(first_human_opened_at, first_human_clicked_at))::bigint // 900 as quarter
    from core.message_status
    semi join changed using (contact_id)
    anti join (select contact_id from core.contacts where is_erased) erased using (contact_id)
    where human_opens > 0 or human_clicks > 0
),
clocks as (
    -- A zone that DuckDB does not know would fail the whole model.
    select q.quarter, q.time_zone,
           hour(timezone(coalesce(z.name, 'UTC'), to_timestamp(q.quarter * 900)))::tinyint as local_hour,
           greatest(0, epoch($now::timestamptz)::bigint // 86400 - q.quarter // 96) as days_ago
    from (select distinct quarter, time_zone from read) q
    left join (select distinct name from pg_timezone_names()) z on z.name = q.time_zone
)
select r.contact_id, k.local_hour,
       -- Rounded, so that the order of a sum decides no tie.
       round(sum(power(0.5, k.days_ago / 90.0)), 6) as weight,
       $now::timestamptz as computed_at
from read r
join clocks k on k.quarter = r.quarter and k.time_zone is not distinct from r.time_zone
group by r.contact_id, k.local_hour
