/* ---
description: What became of the messages of each day, by channel.
grain: one organisation, channel and day
key: [organisation_id, channel, day]
group: deliverability
owner: team:analysts
freshness_hours: 26
chart: {name: accepted_over_days, of: sum(accepted), over: day}
figures:
  accepted: sum(accepted)
  delivery_rate: sum(delivered) / nullif(sum(accepted), 0)
  bounce_rate: sum(bounced) / nullif(sum(accepted), 0)
  human_open_rate: sum(human_opened) / nullif(sum(delivered), 0)
  human_click_rate: sum(human_clicked) / nullif(sum(delivered), 0)
  complaint_rate: sum(complained) / nullif(sum(delivered), 0)
columns:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel: {type: varchar, description: "email, sms or whatsapp.", tests: [not_null]}
  day: {type: date, description: "UTC date of acceptance; of what is not accepted, of the time it is due.", tests: [not_null]}
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
    select day from mart.channel_day
    where messages <> accepted + refused + deferred + cancelled + unknown + waiting
--- */
with counted as (
    select organisation_id, channel, day,
           sum(messages)::bigint as messages, sum(accepted)::bigint as accepted, sum(refused)::bigint as refused,
           sum(deferred)::bigint as deferred, sum(cancelled)::bigint as cancelled, sum(unknown)::bigint as unknown,
           sum(waiting)::bigint as waiting, sum(delivered)::bigint as delivered, sum(bounced)::bigint as bounced,
           sum(failed)::bigint as failed, sum(opened)::bigint as opened, sum(human_opened)::bigint as human_opened,
           sum(clicked)::bigint as clicked, sum(human_clicked)::bigint as human_clicked,
           sum(human_opened_and_clicked)::bigint as human_opened_and_clicked,
           sum(unsubscribed)::bigint as unsubscribed, sum(complained)::bigint as complained,
           sum(converted)::bigint as converted
    from core.message_counts
    group by organisation_id, channel, day
)
select *,
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
from counted
