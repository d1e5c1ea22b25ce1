/* ---
description: At which hours of their own day contacts read, fading with time. Feeds the next plan.
grain: one contact and hour of the day in which it ever opened or clicked
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
    description: 0 to 23 by the contact's clock; by UTC where its time zone is not known.
    tests: [not_null]
  weight:
    type: double
    unit: messages
    description: >-
      Messages a person opened or clicked in that hour, each counted once for each such hour and halved for every 90
      days since.
    tests: [not_null]
  computed_at: {type: timestamptz, description: When the row was computed., tests: [not_null]}
checks:
  hours_of_a_day: select * from core.send_hours where local_hour not between 0 and 23
  weights_are_positive: select * from core.send_hours where weight < 0
--- */

-- name: changed
-- Days count: with a new one everybody is computed again.
select contact_id from core.events where coalesce(load_id, 0) > $after and kind in ('opened', 'clicked')
union
select contact_id from core.contacts where updated_at > $since
union
select contact_id from core.send_hours where computed_at < time_bucket(interval 1 day, $now::timestamptz)

-- name: model
-- Clocks differ by multiples of a quarter of an hour: one conversion for each quarter and zone serves all events of it.
with read as (
    select distinct contact_id, message_id, epoch(occurred_at)::bigint // 900 as quarter
    from core.events semi join changed using (contact_id)
    where kind in ('opened', 'clicked') and verdict = 'human'
),
placed as (
    select r.contact_id, r.message_id, r.quarter, c.time_zone
    from read r join core.contacts c using (contact_id)
),
clocks as (
    -- A zone that DuckDB does not know would fail the whole model.
    select q.quarter, q.time_zone, timezone(coalesce(z.name, 'UTC'), to_timestamp(q.quarter * 900)) as local_time
    from (select distinct quarter, time_zone from placed) q
    left join (select distinct name from pg_timezone_names()) z on z.name = q.time_zone
),
engaged as (
    select distinct p.contact_id, p.message_id, date_trunc('hour', k.local_time) as local_hour_began,
           greatest(0, epoch($now::timestamptz)::bigint // 86400 - p.quarter // 96) as days_ago
    from placed p join clocks k on k.quarter = p.quarter and k.time_zone is not distinct from p.time_zone
)
select contact_id, hour(local_hour_began)::tinyint as local_hour,
       -- Rounded, so that the order of a sum decides no tie.
       round(sum(power(0.5, days_ago / 90.0)), 6) as weight,
       $now::timestamptz as computed_at
from engaged
group by contact_id, hour(local_hour_began)
