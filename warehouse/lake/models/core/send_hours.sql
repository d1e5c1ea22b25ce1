-- core.send_hours: at which hours of their own day contacts read.
-- Grain: contact_id, local_hour. A message counts once for each hour in which a person opened or clicked it, halved for
-- every 90 days since. Hours are the contact's own; UTC where its time zone is not known.
with engaged as (
    select distinct e.contact_id, e.message_id,
           date_trunc('hour', timezone(coalesce(z.name, 'UTC'), e.occurred_at)) as local_hour_began,
           greatest(0, date_diff('day', e.occurred_at, $now::timestamptz)) as days_ago
    from core.events e
    join core.contacts c on c.contact_id = e.contact_id
    -- A zone that DuckDB does not know would fail the whole model.
    left join (select distinct name from pg_timezone_names()) z on z.name = c.time_zone
    where e.kind in ('opened', 'clicked') and e.verdict = 'human'
)
select contact_id, hour(local_hour_began)::tinyint as local_hour,
       -- Rounded, so that the order of a sum decides no tie.
       round(sum(power(0.5, days_ago / 90.0)), 6) as weight,
       $now::timestamptz as computed_at
from engaged
group by contact_id, hour(local_hour_began)
