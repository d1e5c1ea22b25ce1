/* ---
description: How each provider took and delivered what it was given, by day.
grain: one lane and day
key: [lane, day]
group: deliverability
owner: team:operations
freshness_hours: 26
chart: {name: accepted_by_provider, of: sum(accepted), by: provider}
figures:
  accepted: sum(accepted)
  refused: sum(refused)
  unknown: sum(unknown)
  median_delivery_seconds: median(median_delivery_seconds)
columns:
  provider: {type: varchar, description: "The provider, such as sendgrid.", tests: [not_null]}
  lane: {type: varchar, description: "Channel and provider, such as sms:twilio.", tests: [not_null]}
  day:
  accepted:
  refused: {type: bigint, unit: messages, description: "Refused by the provider; what our last check held back is not its doing.", tests: [not_null]}
  deferred:
  unknown:
  delivered:
  bounced:
  failed:
  median_delivery_seconds: {type: double, unit: seconds, description: "From acceptance to delivery, half of the messages are quicker; null where none was delivered."}
  refused_rate: {type: double, unit: share, description: refused / (accepted + refused + unknown); null where the provider was given none., tests: [share]}
  unknown_rate: {type: double, unit: share, description: unknown / (accepted + refused + unknown); null where the provider was given none., tests: [share]}
  delivery_rate:
--- */
-- Providers tell whole seconds, and their clocks are not ours: nothing is delivered before it is accepted.
with counted as (
    select lane, day,
           sum(accepted)::bigint as accepted, sum(refused - refused_by_us)::bigint as refused,
           sum(deferred)::bigint as deferred, sum(unknown)::bigint as unknown, sum(delivered)::bigint as delivered,
           sum(bounced)::bigint as bounced, sum(failed)::bigint as failed
    from core.message_counts
    group by lane, day
),
timed as (
    select lane, day, median(greatest(0, epoch(delivered_at) - epoch(accepted_at))) as median_delivery_seconds
    from core.message_facts where is_delivered and delivered_at is not null and accepted_at is not null
    group by lane, day
)
select split_part(c.lane, ':', 2) as provider, c.lane, c.day, c.accepted, c.refused, c.deferred, c.unknown,
       c.delivered, c.bounced, c.failed, t.median_delivery_seconds,
       c.refused / nullif(c.accepted + c.refused + c.unknown, 0) as refused_rate,
       c.unknown / nullif(c.accepted + c.refused + c.unknown, 0) as unknown_rate
from counted c
left join timed t using (lane, day)
