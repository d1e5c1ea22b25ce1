-- What stands between one person and messages now, and where a message of theirs is in the queue. Subjects are the
-- contact's id and the keyed hashes of its addresses.

-- name: suppressions
select channel, organisation_id, reason, scope, source, created_at
from suppression
where organisation_id in (%(organisation_id)s, '*') and channel = any(%(channels)s::text[])
  and address_key = any(%(subjects)s::bytea[])
order by channel, created_at

-- name: preferences
select channel, topic, is_wanted, source, changed_at
from preference
where organisation_id = %(organisation_id)s and subject = any(%(subjects)s::bytea[])
  and channel = any(%(channels)s::text[]) and topic in (%(topic)s, '*')
order by channel, topic, changed_at

-- name: do_not_call_lists
select l.list_id, l.imported_at
from do_not_call d join do_not_call_list l using (list_id)
where d.address_key = any(%(subjects)s::bytea[])
order by l.list_id

-- name: generation_enqueued
select enqueued_at from enqueued where send_id = %(send_id)s and generation = %(generation)s

-- name: open_batches
-- Batches that may still hold a message of one generation and channel.
select batch_id, status, lane, due_at, attempt, last_error, created_at, sending_at, payload
from batch
where send_id = %(send_id)s and generation = %(generation)s and channel = %(channel)s and payload is not null
order by batch_id desc

-- name: outcomes_of_channel
-- Outcomes that the lake does not hold yet.
select split_part(b.lane, ':', 2) as provider, o.results, o.recorded_at
from outcome o join batch b using (batch_id)
where o.send_id = %(send_id)s and b.generation = %(generation)s and b.channel = %(channel)s
  and (o.recorded_xact, o.outcome_id) > (%(xact)s::text::xid8, %(last_id)s)
order by o.recorded_xact, o.outcome_id
