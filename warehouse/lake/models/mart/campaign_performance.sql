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
  campaign_id: {type: varchar, description: The campaign., tests: [not_null]}
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel: {type: varchar, description: "email, sms or whatsapp.", tests: [not_null]}
  variant: {type: varchar, description: The variant of the campaign; empty without variants., tests: [not_null]}
  due_at: {type: timestamp with time zone, description: When the send was to begin., tests: [not_null]}
  messages: {type: bigint, unit: messages, description: "Planned.", tests: [not_null]}
  accepted: {type: bigint, unit: messages, description: "The provider took them.", tests: [not_null]}
  refused: {type: bigint, unit: messages, description: "Refused, by the provider or by our last check.", tests: [not_null]}
  deferred: {type: bigint, unit: messages, description: "Surely not sent, to be tried again.", tests: [not_null]}
  cancelled: {type: bigint, unit: messages, description: "Given up by people.", tests: [not_null]}
  unknown: {type: bigint, unit: messages, description: "Nobody knows yet whether the provider took them.", tests: [not_null]}
  waiting: {type: bigint, unit: messages, description: "Nothing is recorded yet.", tests: [not_null]}
  delivered: {type: bigint, unit: messages, description: "Arrived, and did not come back.", tests: [not_null]}
  bounced: {type: bigint, unit: messages, description: "Came back in the end.", tests: [not_null]}
  failed: {type: bigint, unit: messages, description: "Given up by the provider in the end.", tests: [not_null]}
  opened: {type: bigint, unit: messages, description: "Opened, by whomever or whatever.", tests: [not_null]}
  human_opened: {type: bigint, unit: messages, description: "Opened by a person.", tests: [not_null]}
  clicked: {type: bigint, unit: messages, description: "Clicked, by whomever or whatever.", tests: [not_null]}
  human_clicked: {type: bigint, unit: messages, description: "Clicked by a person.", tests: [not_null]}
  human_opened_and_clicked: {type: bigint, unit: messages, description: Opened by a person and clicked by one., tests: [not_null]}
  unsubscribed: {type: bigint, unit: messages, description: "The recipient unsubscribed by it.", tests: [not_null]}
  complained: {type: bigint, unit: messages, description: "The recipient called it spam.", tests: [not_null]}
  converted: {type: bigint, unit: messages, description: "Delivered and credited with at least one conversion.", tests: [not_null]}
  revenue_micros: {type: bigint, unit: micros, description: "What the conversions credited to them brought; 0 without any, null in several currencies."}
  currency: {type: varchar, description: The currency of the revenue; null without one or with several.}
  delivery_rate: {type: double, unit: share, description: delivered / accepted; null without accepted messages., tests: [share]}
  bounce_rate: {type: double, unit: share, description: bounced / accepted; null without accepted messages., tests: [share]}
  open_rate: {type: double, unit: share, description: opened / delivered; null without delivered messages., tests: [share]}
  human_open_rate: {type: double, unit: share, description: human_opened / delivered; null without delivered messages., tests: [share]}
  click_rate: {type: double, unit: share, description: clicked / delivered; null without delivered messages., tests: [share]}
  human_click_rate: {type: double, unit: share, description: human_clicked / delivered; null without delivered messages., tests: [share]}
  unsubscribe_rate: {type: double, unit: share, description: unsubscribed / delivered; null without delivered messages., tests: [share]}
  complaint_rate: {type: double, unit: share, description: complained / delivered; null without delivered messages., tests: [share]}
  conversion_rate: {type: double, unit: share, description: converted / delivered; null without delivered messages., tests: [share]}
  click_to_open_rate: {type: double, unit: share, description: "human_opened_and_clicked / human_opened: of those opened, how many were clicked too; null without opened ones.", tests: [share]}
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
select c.send_id, c.campaign_id, c.organisation_id, c.channel, c.variant, s.due_at,
       c.messages, c.accepted, c.refused, c.deferred, c.cancelled, c.unknown, c.waiting, c.delivered, c.bounced,
       c.failed, c.opened, c.human_opened, c.clicked, c.human_clicked, c.human_opened_and_clicked, c.unsubscribed, c.complained, c.converted,
       case when not coalesce(c.is_mixed, false) then c.all_micros end as revenue_micros,
       case when not coalesce(c.is_mixed, false) then c.least_currency end as currency,
       delivered / nullif(accepted, 0) as delivery_rate,
       bounced / nullif(accepted, 0) as bounce_rate,
       opened / nullif(delivered, 0) as open_rate,
       human_opened / nullif(delivered, 0) as human_open_rate,
       clicked / nullif(delivered, 0) as click_rate,
       human_clicked / nullif(delivered, 0) as human_click_rate,
       unsubscribed / nullif(delivered, 0) as unsubscribe_rate,
       complained / nullif(delivered, 0) as complaint_rate,
       converted / nullif(delivered, 0) as conversion_rate,
       human_opened_and_clicked / nullif(human_opened, 0) as click_to_open_rate,
       $now::timestamptz as computed_at
from priced c
join campaign.sends s using (send_id)
