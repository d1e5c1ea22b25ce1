/* ---
description: Every planned message with all that marts count. Who asks something no mart answers begins here.
grain: one planned message
key: message_id
group: events
owner: team:analysts
materialized: view
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
  domain: {type: varchar, description: "Where it goes, as it was planned: the e-mail domain, or the calling code of the phone number, such as +49 (ITU-T E.164). Those with fewer than 5 contacts of the organisation are together as (small domains).", tests: [not_null]}
  time_zone: {type: varchar, description: "The contact's time zone (IANA), as it was planned; null if it was not known."}
  day: {type: date, description: "UTC date of acceptance; as long as it is not accepted, of the time it is due.", tests: [not_null]}
  state: {type: varchar, description: "Where it is accounted for. What the provider told any step of, it has accepted.", tests: [not_null, {accepted: [accepted, refused, deferred, cancelled, unknown, waiting]}]}
  refusal_reason: {type: varchar, description: "Why it was refused; null if it was not."}
  failure_kind: {type: varchar, description: "The last loss its provider told: bounced, blocked, rejected or failed; null without any. What came after it may be better."}
  failure_code: {type: varchar, description: "The provider's code of it."}
  failure_reason: {type: varchar, description: "Why, in the provider's words."}
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
--- */

-- The furthest step is where a message stands (core.message_status): whatever we noted of it, what its provider told
-- a step of was accepted. So each count of a funnel is a part of the one before it, and every rate lies in 0 to 1.
select message_id, send_id, campaign_id, organisation_id, contact_id, channel, variant, lane, score_band, segments,
       cost_micros, cost_currency, domain, time_zone, day, state, refusal_reason,
       failure_kind, failure_code, failure_reason,
       deferred_at is not null as was_deferred,
       -- Delivered, or what a recipient does: numbers are compared ten times as fast as words.
       status_rank = 50 or status_rank >= 60 as is_delivered, status_rank = 52 as is_bounced, status_rank = 51 as is_failed,
       opens > 0 as is_opened, human_opens > 0 as is_human_opened,
       clicks > 0 as is_clicked, human_clicks > 0 as is_human_clicked,
       unsubscribed_at is not null as is_unsubscribed, complained_at is not null as is_complained,
       accepted_at, delivered_at
from core.message_status
-- Without a plan it is not one of ours, whoever told of it.
where lane is not null and campaign_id is not null
