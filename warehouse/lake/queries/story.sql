-- What is on record of one contact and one send.

-- name: is_among
-- A compiled audience query is put in.
select count(*) > 0 from ({audience}) as audience where audience.contact_id::varchar = $contact_id

-- name: selection
-- When the audience was selected last, of how many, and whether the contact is in it.
select max(selected_at) as selected_at, count(*) as contacts,
       max(selected_at) filter (where contact_id = $contact_id) as member_since
from campaign.audiences where send_id = $send_id

-- name: decisions
select channel, decision, rules, decided_at, not_before, hours
from campaign.decisions where send_id = $send_id and contact_id = $contact_id
order by decided_at, channel

-- name: messages
select message_id, generation, channel, lane, variant, language, segments, due_at, planned_at, topic, hours
from campaign.messages where send_id = $send_id and contact_id = $contact_id
order by generation, channel

-- name: outcomes
select status, reason, code, provider, provider_message_id, recorded_at
from core.outcomes where send_id = $send_id and message_id = $message_id
order by outcome_id

-- name: events
select kind, verdict, verdict_reasons, provider, reason, code, occurred_at
from core.events where message_id = $message_id
order by occurred_at, received_at, event_id

-- name: feed_position
select xact, last_id from raw.watermarks where feed = $feed
