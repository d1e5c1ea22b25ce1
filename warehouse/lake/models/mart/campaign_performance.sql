/* ---
description: What became of the messages of each send, by channel and variant.
grain: one send, channel and variant
key: [send_id, channel, variant]
group: analytics
owner: team:analysts
freshness_hours: 26
after_send: true
chart: {name: accepted_by_send, of: sum(accepted), by: send_id}
figures:
  accepted: sum(accepted)
  delivered: sum(delivered)
  delivery_rate: sum(delivered) / nullif(sum(accepted), 0)
  bounce_rate: sum(bounced) / nullif(sum(accepted), 0)
  human_open_rate: sum(human_opened) / nullif(sum(delivered), 0)
  human_click_rate: sum(human_clicked) / nullif(sum(delivered), 0)
  complaint_rate: sum(complained) / nullif(sum(delivered), 0)
columns:
  send_id: {type: varchar, description: The send., tests: [not_null, {relation: campaign.sends.send_id}]}
  campaign_id:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel:
  variant: {type: varchar, description: The variant of the campaign; empty without variants., tests: [not_null]}
  due_at: {type: timestamp with time zone, description: When the send was to begin., tests: [not_null]}
  messages:
  accepted:
  refused:
  deferred:
  cancelled:
  unknown:
  waiting:
  delivered:
  bounced:
  failed:
  opened:
  human_opened:
  clicked:
  human_clicked:
  human_opened_and_clicked:
  unsubscribed:
  complained:
  converted:
  revenue_micros: {type: bigint, unit: micros, description: "What the conversions credited to them brought; 0 without any, null in several currencies."}
  currency: {type: varchar, description: The currency of the revenue; null without one or with several.}
  delivery_rate:
  bounce_rate:
  open_rate:
  human_open_rate:
  click_rate:
  human_click_rate:
  unsubscribe_rate:
  complaint_rate:
  conversion_rate:
  click_to_open_rate:
  computed_at: {type: timestamp with time zone, description: When this was counted., tests: [not_null]}
checks:
  states_sum: >-
    select send_id from mart.campaign_performance
    where messages <> accepted + refused + deferred + cancelled + unknown + waiting
--- */
with counted as (
    select send_id, any_value(campaign_id) as campaign_id, any_value(organisation_id) as organisation_id,
           channel, variant,
           sum(messages)::bigint as messages, sum(accepted)::bigint as accepted, sum(refused)::bigint as refused,
           sum(deferred)::bigint as deferred, sum(cancelled)::bigint as cancelled, sum(unknown)::bigint as unknown,
           sum(waiting)::bigint as waiting, sum(delivered)::bigint as delivered, sum(bounced)::bigint as bounced,
           sum(failed)::bigint as failed, sum(opened)::bigint as opened, sum(human_opened)::bigint as human_opened,
           sum(clicked)::bigint as clicked, sum(human_clicked)::bigint as human_clicked,
           sum(human_opened_and_clicked)::bigint as human_opened_and_clicked,
           sum(unsubscribed)::bigint as unsubscribed, sum(complained)::bigint as complained,
           sum(converted)::bigint as converted,
           min(revenue_currency) as least_currency, max(revenue_currency) as greatest_currency,
           sum(revenue_micros)::bigint as all_micros
    from core.message_counts
    group by send_id, channel, variant
),
priced as (
    -- Money is never added up over currencies; XXX stands for several.
    select *, least_currency is distinct from greatest_currency or least_currency = 'XXX' as is_mixed from counted
)
select c.* exclude (least_currency, greatest_currency, all_micros, is_mixed), s.due_at,
       case when not coalesce(c.is_mixed, false) then c.all_micros end as revenue_micros,
       case when not coalesce(c.is_mixed, false) then c.least_currency end as currency,
       $now::timestamptz as computed_at
from priced c
join campaign.sends s using (send_id)
