/* ---
description: Every planned message with all that marts count. Who asks something no mart answers begins here.
grain: one planned message
key: message_id
group: events
owner: team:analysts
incremental: message_id
after_send: true
chart: {name: messages_by_state, of: count(*), by: state}
columns:
  message_id: {type: varchar, description: The message., tests: [not_null, unique]}
  send_id: {type: varchar, description: Its send., tests: [not_null, {relation: campaign.sends.send_id}]}
  campaign_id: {type: varchar, description: The campaign of the send., tests: [not_null]}
  organisation_id: {type: varchar, description: Whose message it is., tests: [not_null]}
  contact_id: {type: varchar, description: The recipient., tests: [not_null]}
  channel:
  variant: {type: varchar, description: The variant of the campaign; empty without variants., tests: [not_null]}
  lane: {type: varchar, description: "Channel and provider it went through in the end, else those it is planned for.", tests: [not_null]}
  score_band: {type: varchar, description: The fifth its personalization score lies in., tests: [not_null, {accepted: ['0.0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1.0']}]}
  segments: {type: integer, unit: segments, description: Segments of a text message; null for other channels.}
  cost_micros: {type: bigint, unit: micros, description: "What it costs once accepted, by the price set when it was planned; null without one."}
  cost_currency: {type: varchar, description: The currency of the cost.}
  day: {type: date, description: "UTC date of acceptance; as long as it is not accepted, of the time it is due.", tests: [not_null]}
  state: {type: varchar, description: "Where it is accounted for. What the provider told any step of, it has accepted.", tests: [not_null, {accepted: [accepted, refused, deferred, cancelled, unknown, waiting]}]}
  refusal_reason: {type: varchar, description: "Why it was refused; null if it was not."}
  was_deferred: {type: boolean, description: The provider said at least once that it could not deliver it yet., tests: [not_null]}
  is_delivered: {type: boolean, description: "It arrived and did not come back: delivered, or anything a recipient does is told of it.", tests: [not_null]}
  is_bounced: {type: boolean, description: It came back in the end., tests: [not_null]}
  is_failed: {type: boolean, description: The provider gave it up in the end., tests: [not_null]}
  is_opened: {type: boolean, description: Anybody or any machine opened it., tests: [not_null]}
  is_human_opened: {type: boolean, description: A person opened it., tests: [not_null]}
  is_clicked: {type: boolean, description: Anybody or any machine clicked a link in it., tests: [not_null]}
  is_human_clicked: {type: boolean, description: A person clicked a link in it., tests: [not_null]}
  is_unsubscribed: {type: boolean, description: Its recipient unsubscribed by it., tests: [not_null]}
  is_complained: {type: boolean, description: Its recipient called it spam., tests: [not_null]}
  accepted_at: {type: timestamp with time zone, description: When the provider took it.}
  delivered_at: {type: timestamp with time zone, description: When the provider delivered it first; also of what bounced later.}
checks:
  states_follow_outcomes: >-
    select message_id from core.message_facts
    where state <> 'accepted' and (is_delivered or is_bounced or is_failed)
--- */

-- name: changed
select message_id from core.message_status where load_id > $after
union all
-- A plan never changes: of its messages only those not seen yet are new.
select message_id from campaign.messages
where planned_at > $since and ($after < 0 or message_id not in (select message_id from core.message_facts))

-- name: model
-- The furthest step is where a message stands (core.message_status): whatever we noted of it, what its provider told
-- a step of was accepted. So each count of a funnel is a part of the one before it, and every rate lies in 0 to 1.
with planned as (
    select message_id, send_id, contact_id, channel, lane, variant, score, segments, cost_micros, currency, due_at
    from campaign.messages semi join changed using (message_id)
),
not_accepted as (
    -- One structure: each field apart would take the last answer that has it.
    select message_id, arg_max({status: status, reason: reason}, outcome_id) as answer
    from core.outcomes semi join changed using (message_id)
    where status <> 'accepted'
    group by message_id
),
only_providers as (
    -- Of sends that were planned for one lane of a channel.
    select send_id, split_part(lane, ':', 2) as provider
    from (select distinct send_id, channel, lane from campaign.messages)
    qualify count(*) over (partition by send_id, channel) = 1
),
handed_over as (
    -- Another provider answered than the planned one, or nobody can tell without looking. Few: seldom one stands in.
    select distinct message_id
    from (from core.outcomes anti join only_providers using (send_id, provider)) semi join changed using (message_id)
),
stood_in as (
    select message_id, arg_max(provider, outcome_id) as provider
    from core.outcomes semi join handed_over using (message_id)
    group by message_id
)
select p.message_id, p.send_id, n.campaign_id, n.organisation_id, p.contact_id, p.channel, p.variant,
       coalesce(p.channel || ':' || i.provider, p.lane) as lane,
       ['0.0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1.0'][least(5, 1 + floor(p.score * 5)::integer)] as score_band,
       p.segments, p.cost_micros, p.currency as cost_currency,
       -- Quicker than a cast, which asks for the session's calendar row by row.
       make_timestamp(epoch_us(coalesce(s.accepted_at, p.due_at)))::date as day,
       case when s.status_rank >= 20 then 'accepted' else coalesce(o.answer.status, 'waiting') end as state,
       case when state = 'refused' then o.answer.reason end as refusal_reason,
       s.deferred_at is not null as was_deferred,
       coalesce(s.status in ('delivered', 'opened', 'clicked', 'unsubscribed', 'complained'), false) as is_delivered,
       coalesce(s.status = 'bounced', false) as is_bounced, coalesce(s.status = 'failed', false) as is_failed,
       s.first_opened_at is not null as is_opened, s.first_human_opened_at is not null as is_human_opened,
       s.first_clicked_at is not null as is_clicked, s.first_human_clicked_at is not null as is_human_clicked,
       s.unsubscribed_at is not null as is_unsubscribed, s.complained_at is not null as is_complained,
       s.accepted_at, s.delivered_at
from planned p
join campaign.sends n using (send_id)
left join core.message_status s on s.message_id = p.message_id
left join not_accepted o on o.message_id = p.message_id
left join stood_in i on i.message_id = p.message_id
