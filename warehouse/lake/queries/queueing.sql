-- name: planned_groups
-- What messages of one generation of a plan can have in common.
select distinct lane, channel, variant, language
from campaign.messages where send_id = $send_id and generation = $generation
order by all

-- name: planned_slice
-- The next messages of such a group, by contact: the plan was written in that order, which spares most of its files.
select message_id, contact_id, due_at, hours
from campaign.messages
where send_id = $send_id and generation = $generation
  and lane = $lane and channel = $channel and variant = $variant and language is not distinct from $language
  and contact_id >= $contact_id and (contact_id > $contact_id or message_id > $message_id)
order by contact_id, message_id
limit $size
