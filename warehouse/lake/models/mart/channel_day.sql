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
  channel:
  day:
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
    select day from mart.channel_day
    where messages <> accepted + refused + deferred + cancelled + unknown + waiting
--- */
select organisation_id, channel, day,
       sum(messages)::bigint as messages, sum(accepted)::bigint as accepted, sum(refused)::bigint as refused,
       sum(deferred)::bigint as deferred, sum(cancelled)::bigint as cancelled, sum(unknown)::bigint as unknown,
       sum(waiting)::bigint as waiting, sum(delivered)::bigint as delivered, sum(bounced)::bigint as bounced,
       sum(failed)::bigint as failed, sum(opened)::bigint as opened, sum(human_opened)::bigint as human_opened,
       sum(clicked)::bigint as clicked, sum(human_clicked)::bigint as human_clicked,
       sum(human_opened_and_clicked)::bigint as human_opened_and_clicked,
       sum(unsubscribed)::bigint as unsubscribed, sum(complained)::bigint as complained,
       sum(converted)::bigint as converted,
       $now::timestamptz as computed_at
from core.message_counts
group by organisation_id, channel, day
