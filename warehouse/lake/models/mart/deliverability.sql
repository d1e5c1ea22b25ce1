/* ---
description: How well messages arrive at each e-mail domain and in each country's telephone network.
grain: one organisation, channel and domain
key: [organisation_id, channel, domain]
group: deliverability
owner: team:analysts
freshness_hours: 26
chart: {name: accepted_by_domain, of: sum(accepted), by: domain}
figures:
  delivery_rate: sum(delivered) / nullif(sum(accepted), 0)
  bounce_rate: sum(bounced) / nullif(sum(accepted), 0)
  complaint_rate: sum(complained) / nullif(sum(delivered), 0)
columns:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel:
  domain: {type: varchar, description: "E-mail domain, of phones the calling code, such as +49. Those with fewer than 5 contacts are together as (small domains); (unknown) are contacts without an address by now, as after erasure.", tests: [not_null]}
  accepted:
  delivered:
  deferred_once: {type: bigint, unit: messages, description: "The provider said at least once that it could not deliver them yet.", tests: [not_null]}
  bounced:
  failed:
  complained:
  human_opened:
  human_clicked:
  delivery_rate:
  bounce_rate:
  complaint_rate:
  human_open_rate:
  human_click_rate:
  deferral_rate: {type: double, unit: share, description: deferred_once / accepted; null without accepted messages., tests: [share]}
  failure_rate: {type: double, unit: share, description: failed / accepted; null without accepted messages., tests: [share]}
  median_delivery_seconds: {type: double, unit: seconds, description: "From acceptance to delivery, half of the messages are quicker; null where none was delivered."}
  p95_delivery_seconds: {type: double, unit: seconds, description: "From acceptance to delivery, 19 of 20 messages are quicker; null where none was delivered."}
--- */
-- Providers tell whole seconds, and their clocks are not ours: nothing is delivered before it is accepted.
with counted as (
    select f.organisation_id, f.channel, f.domain,
           count(*) as accepted,
           count(*) filter (f.is_delivered) as delivered,
           count(*) filter (f.was_deferred) as deferred_once,
           count(*) filter (f.is_bounced) as bounced,
           count(*) filter (f.is_failed) as failed,
           count(*) filter (f.is_complained) as complained,
           count(*) filter (f.is_human_opened) as human_opened,
           count(*) filter (f.is_human_clicked) as human_clicked,
           quantile_cont(greatest(0, epoch(f.delivered_at) - epoch(f.accepted_at)), [0.5, 0.95])
               filter (f.is_delivered and f.delivered_at is not null and f.accepted_at is not null) as seconds
    from core.message_facts f
    where f.state = 'accepted'
    group by all
)
select * exclude (seconds),
       deferred_once / nullif(accepted, 0) as deferral_rate,
       failed / nullif(accepted, 0) as failure_rate,
       seconds[1] as median_delivery_seconds, seconds[2] as p95_delivery_seconds
from counted
