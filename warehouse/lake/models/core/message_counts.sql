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
  # Of core.message_facts, which is a view and has no checks of columns.
  messages_once: select message_id from core.message_facts group by message_id having count(*) > 1
  states_follow_outcomes: >-
    select message_id from core.message_facts
    where state <> 'accepted' and (is_delivered or is_bounced or is_failed)
  facts_present: >-
    select message_id from core.message_facts
    where send_id is null or organisation_id is null or contact_id is null or channel is null or variant is null
       or score_band is null or domain is null or day is null or state is null
  facts_accepted: >-
    select message_id from core.message_facts
    where state not in ('accepted', 'refused', 'deferred', 'cancelled', 'unknown', 'waiting')
       or score_band not in ('0.0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1.0')
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
),
alike as (
    -- Most messages are like thousands of others: so few rows are left that counting them costs nothing.
    select f.send_id, f.variant, f.lane, f.score_band, f.day, f.cost_currency, b.currency as revenue_currency,
           f.channel, f.state, f.refusal_reason, f.is_delivered, f.is_bounced, f.is_failed, f.is_opened,
           f.is_human_opened, f.is_clicked, f.is_human_clicked, f.is_unsubscribed, f.is_complained,
           b.message_id is not null as is_converted, count(*) as messages,
           sum(coalesce(f.segments, 1)) as segments, sum(f.cost_micros) as cost_micros,
           sum(b.value_micros) as value_micros
    from core.message_facts f
    left join brought b using (message_id)
    group by all
)
select a.send_id, n.campaign_id, n.organisation_id, a.channel, a.variant, a.lane, a.score_band, a.day,
       a.cost_currency, a.revenue_currency,
       sum(a.messages)::bigint as messages,
       coalesce(sum(a.messages) filter (a.state = 'accepted'), 0)::bigint as accepted,
       coalesce(sum(a.messages) filter (a.state = 'refused'), 0)::bigint as refused,
       coalesce(sum(a.messages) filter (a.refusal_reason in ('suppressed', 'unwanted', 'capped', 'window')), 0)::bigint as refused_by_us,
       coalesce(sum(a.messages) filter (a.state = 'deferred'), 0)::bigint as deferred,
       coalesce(sum(a.messages) filter (a.state = 'cancelled'), 0)::bigint as cancelled,
       coalesce(sum(a.messages) filter (a.state = 'unknown'), 0)::bigint as unknown,
       coalesce(sum(a.messages) filter (a.state = 'waiting'), 0)::bigint as waiting,
       coalesce(sum(a.messages) filter (a.is_delivered), 0)::bigint as delivered,
       coalesce(sum(a.messages) filter (a.is_bounced), 0)::bigint as bounced,
       coalesce(sum(a.messages) filter (a.is_failed), 0)::bigint as failed,
       coalesce(sum(a.messages) filter (a.is_opened), 0)::bigint as opened,
       coalesce(sum(a.messages) filter (a.is_human_opened), 0)::bigint as human_opened,
       coalesce(sum(a.messages) filter (a.is_clicked), 0)::bigint as clicked,
       coalesce(sum(a.messages) filter (a.is_human_clicked), 0)::bigint as human_clicked,
       coalesce(sum(a.messages) filter (a.is_human_opened and a.is_human_clicked), 0)::bigint as human_opened_and_clicked,
       coalesce(sum(a.messages) filter (a.is_unsubscribed), 0)::bigint as unsubscribed,
       coalesce(sum(a.messages) filter (a.is_complained), 0)::bigint as complained,
       coalesce(sum(a.messages) filter (a.is_delivered and a.is_converted), 0)::bigint as converted,
       case when a.revenue_currency is distinct from 'XXX' then coalesce(sum(a.value_micros), 0)::bigint end
           as revenue_micros,
       coalesce(sum(a.segments) filter (a.state = 'accepted'), 0)::bigint as segments,
       case when a.cost_currency is not null
            then coalesce(sum(a.cost_micros) filter (a.state = 'accepted'), 0)::bigint end as cost_micros
from alike a
join campaign.sends n using (send_id)
group by a.send_id, n.campaign_id, n.organisation_id, a.channel, a.variant, a.lane, a.score_band, a.day,
         a.cost_currency, a.revenue_currency
