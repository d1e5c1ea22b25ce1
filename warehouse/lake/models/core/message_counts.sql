/* ---
description: How many messages did what, by everything marts tell them apart by. Each message counts once.
grain: one send, channel, variant, lane, score band, day, cost currency and revenue currency
key: [send_id, channel, variant, lane, score_band, day, cost_currency, revenue_currency]
group: events
owner: team:analysts
after_send: true
chart: {name: accepted_by_channel, of: sum(accepted), by: channel}
figures:
  accepted: sum(accepted)
  delivered: sum(delivered)
columns:
  send_id: {type: varchar, description: The send., tests: [not_null, {relation: campaign.sends.send_id}]}
  campaign_id: {type: varchar, description: The campaign of the send., tests: [not_null]}
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel:
  variant: {type: varchar, description: The variant of the campaign; empty without variants., tests: [not_null]}
  lane: {type: varchar, description: Channel and provider., tests: [not_null]}
  score_band: {type: varchar, description: The fifth the personalization score lies in., tests: [not_null]}
  day:
  cost_currency: {type: varchar, description: The currency of the prices; null without a price.}
  revenue_currency: {type: varchar, description: "The currency the messages brought money in; null without any, XXX (ISO 4217: none) of messages that brought several."}
  messages:
  accepted:
  refused:
  refused_by_us: {type: bigint, unit: messages, description: "Of the refused, those our last check held back: suppressed, unwanted, capped, no reply window.", tests: [not_null]}
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
  revenue_micros: {type: bigint, unit: micros, description: "What they brought, in the revenue currency; null where that is XXX, 0 where it is null."}
  segments: {type: bigint, unit: segments, description: "Segments of the accepted text messages; one for each message of other channels.", tests: [not_null]}
  cost_micros: {type: bigint, unit: micros, description: "What the accepted ones cost, in the cost currency; null without a price."}
checks:
  states_sum: >-
    select send_id from core.message_counts
    where messages <> accepted + refused + deferred + cancelled + unknown + waiting
  counts_nest: >-
    select send_id from core.message_counts
    where delivered + bounced + failed > accepted or opened > delivered or clicked > delivered
       or human_opened > opened or human_clicked > clicked or unsubscribed > delivered or complained > delivered
       or converted > delivered or refused_by_us > refused
--- */
with brought as (
    select message_id, count(distinct currency) filter (value_micros is not null) as currencies,
           case when currencies > 1 then 'XXX' else min(currency) filter (value_micros is not null) end as currency,
           case when currencies <= 1 then coalesce(sum(value_micros), 0)::bigint end as value_micros
    from core.conversions group by message_id
)
select f.send_id, f.campaign_id, f.organisation_id, f.channel, f.variant, f.lane, f.score_band, f.day, f.cost_currency,
       b.currency as revenue_currency,
       count(*) as messages,
       count(*) filter (f.state = 'accepted') as accepted,
       count(*) filter (f.state = 'refused') as refused,
       count(*) filter (f.refusal_reason in ('suppressed', 'unwanted', 'capped', 'window')) as refused_by_us,
       count(*) filter (f.state = 'deferred') as deferred,
       count(*) filter (f.state = 'cancelled') as cancelled,
       count(*) filter (f.state = 'unknown') as unknown,
       count(*) filter (f.state = 'waiting') as waiting,
       count(*) filter (f.is_delivered) as delivered,
       count(*) filter (f.is_bounced) as bounced,
       count(*) filter (f.is_failed) as failed,
       count(*) filter (f.is_opened) as opened,
       count(*) filter (f.is_human_opened) as human_opened,
       count(*) filter (f.is_clicked) as clicked,
       count(*) filter (f.is_human_clicked) as human_clicked,
       count(*) filter (f.is_human_opened and f.is_human_clicked) as human_opened_and_clicked,
       count(*) filter (f.is_unsubscribed) as unsubscribed,
       count(*) filter (f.is_complained) as complained,
       count(*) filter (f.is_delivered and b.message_id is not null) as converted,
       case when b.currency is distinct from 'XXX' then coalesce(sum(b.value_micros), 0)::bigint end as revenue_micros,
       coalesce(sum(coalesce(f.segments, 1)) filter (f.state = 'accepted'), 0)::bigint as segments,
       case when f.cost_currency is not null
            then coalesce(sum(f.cost_micros) filter (f.state = 'accepted'), 0)::bigint end as cost_micros
from core.message_facts f
left join brought b using (message_id)
group by f.send_id, f.campaign_id, f.organisation_id, f.channel, f.variant, f.lane, f.score_band, f.day,
         f.cost_currency, b.currency
