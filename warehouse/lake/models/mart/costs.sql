/* ---
description: What each send cost and what it brought, by channel and lane.
grain: one send, channel and lane
key: [send_id, channel, lane]
group: analytics
after_send: true
owner: team:analysts
freshness_hours: 26
chart: {name: messages_by_lane, of: sum(messages), by: lane}
figures:
  segments: sum(segments)
columns:
  send_id: {type: varchar, description: The send., tests: [not_null, {relation: campaign.sends.send_id}]}
  campaign_id:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel:
  lane: {type: varchar, description: "Channel and provider, such as sms:twilio.", tests: [not_null]}
  messages:
  accepted: {type: bigint, unit: messages, description: "The provider took them: these cost.", tests: [not_null]}
  segments: {type: bigint, unit: segments, description: "Of the accepted ones: segments of text messages, one for each message of other channels.", tests: [not_null]}
  cost_micros: {type: bigint, unit: micros, description: "Of the accepted ones, by the prices set when they were planned (COMMS_PRICES); what is billed is not known. Null where any has no price, or prices are in several currencies."}
  currency: {type: varchar, description: The currency of the cost; null where the cost is.}
  delivered:
  human_clicked:
  converted:
  revenue_micros: {type: bigint, unit: micros, description: "What the conversions credited to them brought; 0 without any, null in several currencies."}
  revenue_currency: {type: varchar, description: The currency of the revenue; null without one or with several.}
  cost_per_delivered_micros: {type: bigint, unit: micros, description: "Cost for each delivered message, in the currency of the cost, rounded; null without either."}
  cost_per_human_click_micros: {type: bigint, unit: micros, description: "Cost for each message that a person clicked, in the currency of the cost, rounded; null without either."}
  return_on_cost: {type: double, unit: revenue for each unit of cost, description: "Revenue / cost; null without cost, and where their currencies differ."}
checks:
  never_below_zero: select send_id from mart.costs where cost_micros < 0 or return_on_cost < 0
--- */
with counted as (
    select send_id, any_value(campaign_id) as campaign_id, any_value(organisation_id) as organisation_id,
           channel, lane,
           sum(messages)::bigint as messages, sum(accepted)::bigint as accepted, sum(segments)::bigint as segments,
           sum(delivered)::bigint as delivered, sum(human_clicked)::bigint as human_clicked,
           sum(converted)::bigint as converted,
           sum(cost_micros) filter (accepted > 0)::bigint as cost_micros,
           coalesce(bool_and(cost_currency is not null) filter (accepted > 0), false) as is_priced,
           count(distinct cost_currency) filter (accepted > 0) as cost_currencies,
           min(cost_currency) filter (accepted > 0) as cost_currency,
           sum(revenue_micros)::bigint as revenue_micros, count(distinct revenue_currency) as revenue_currencies,
           min(revenue_currency) as revenue_currency
    from core.message_counts
    group by send_id, channel, lane
),
known as (
    -- Money is never added up over currencies; XXX stands for several.
    select *, is_priced and cost_currencies = 1 as has_cost,
           revenue_currencies = 0 or (revenue_currencies = 1 and revenue_currency <> 'XXX') as has_revenue
    from counted
),
single as (
    select * replace (
        case when has_cost then cost_micros end as cost_micros,
        case when has_cost then cost_currency end as cost_currency,
        case when has_revenue then revenue_micros end as revenue_micros,
        case when has_revenue then revenue_currency end as revenue_currency)
    from known
)
select send_id, campaign_id, organisation_id, channel, lane, messages, accepted, segments, cost_micros,
       cost_currency as currency, delivered, human_clicked, converted, revenue_micros, revenue_currency,
       round(cost_micros / nullif(delivered, 0))::bigint as cost_per_delivered_micros,
       round(cost_micros / nullif(human_clicked, 0))::bigint as cost_per_human_click_micros,
       case when revenue_micros = 0 or revenue_currency = cost_currency then revenue_micros / nullif(cost_micros, 0)
       end as return_on_cost
from single
