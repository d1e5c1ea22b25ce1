/* ---
description: How messages do by the hour of the week at which they reach their recipients.
grain: one organisation, channel, weekday and hour of the recipient's own clock
key: [organisation_id, channel, weekday, local_hour]
group: engagement
owner: team:analysts
freshness_hours: 26
chart: {name: human_opens_by_local_hour, of: sum(human_opened), over: local_hour}
figures:
  human_opened: sum(human_opened)
  human_clicked: sum(human_clicked)
columns:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel:
  weekday: {type: tinyint, description: "1 Monday to 7 Sunday, by the recipient's clock.", tests: [not_null, {accepted: [1, 2, 3, 4, 5, 6, 7]}]}
  local_hour: {type: tinyint, unit: hour of the day, description: "0 to 23 by the recipient's clock; by UTC where no time zone is known.", tests: [not_null]}
  delivered: {type: bigint, unit: messages, description: Delivered in that hour., tests: [not_null]}
  human_opened: {type: bigint, unit: messages, description: "Of those, opened by a person, whenever.", tests: [not_null]}
  human_clicked: {type: bigint, unit: messages, description: "Of those, clicked by a person, whenever.", tests: [not_null]}
  human_open_rate:
  human_click_rate:
checks:
  hours_of_a_day: select local_hour from mart.send_time_heatmap where local_hour not between 0 and 23
--- */
-- Clocks differ by multiples of a quarter of an hour: one conversion for each quarter and zone serves all messages of it.
with quarters as (
    select f.organisation_id, f.channel, f.time_zone, epoch(f.delivered_at)::bigint // 900 as quarter,
           count(*) as delivered,
           count(*) filter (f.is_human_opened) as human_opened,
           count(*) filter (f.is_human_clicked) as human_clicked
    from core.message_facts f
    where f.is_delivered and f.delivered_at is not null
    group by all
),
placed as (
    -- A zone that DuckDB does not know would fail the whole model.
    select q.* exclude (time_zone, quarter),
           timezone(coalesce(z.name, 'UTC'), to_timestamp(q.quarter * 900)) as local_time
    from quarters q
    left join (select distinct name from pg_timezone_names()) z on z.name = q.time_zone
)
select organisation_id, channel, isodow(local_time)::tinyint as weekday, hour(local_time)::tinyint as local_hour,
       sum(delivered)::bigint as delivered, sum(human_opened)::bigint as human_opened,
       sum(human_clicked)::bigint as human_clicked
from placed group by all
