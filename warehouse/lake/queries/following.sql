-- Where one message stands, or everything about one contact. Ids only: no address is read.

-- name: message
select m.*, s.campaign_id, s.organisation_id
from campaign.messages m left join campaign.sends s using (send_id)
where m.message_id = $message_id
order by m.planned_at limit 1

-- name: standing
select * from core.message_status where message_id = $message_id

-- name: conversions
select type, occurred_at, touch_kind, touched_at, value_micros / 1000000 as value, currency
from core.conversions where message_id = $message_id
order by occurred_at, event_id

-- name: messages_of_contact
-- The latest first.
select m.message_id, s.campaign_id, m.send_id, m.channel, coalesce(t.status, 'planned') as status, m.due_at,
       t.accepted_at, t.delivered_at, t.first_human_opened_at, t.first_human_clicked_at
from campaign.messages m
left join campaign.sends s using (send_id)
left join core.message_status t on t.message_id = m.message_id
where m.contact_id = $contact_id
order by m.due_at desc, m.message_id
limit $limit

-- name: timeline_of_contact
-- The latest of it, oldest first.
from (select occurred_at, what, detail, message_id, send_id, source from core.timeline
      where contact_id = $contact_id order by occurred_at desc, what limit $limit)
order by occurred_at, what
