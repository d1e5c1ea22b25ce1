-- name: claim_enqueue
-- A generation of a plan is enqueued once; the row is the proof. No row back: it was there already.
insert into enqueued (send_id, generation, messages)
values (%(send_id)s, %(generation)s, %(messages)s)
on conflict do nothing
returning generation

-- name: enqueued
select generation, messages from enqueued where send_id = %(send_id)s

-- name: put_content
insert into content (content_id, body) values (%(content_id)s, %(body)s)
on conflict do nothing

-- name: copy_batches
copy batch (send_id, organisation_id, generation, lane, channel, content_id, priority, message_count, payload, due_at)
from stdin

-- name: claim_due
-- The oldest due batches of a lane, most urgent first, for one worker; each claim gets a fence of its own.
-- (A CTE, because the planner may run a joined subquery, and with it the limit, more than once.)
with due as materialized (
    select c.batch_id
    from batch c
    join send s using (send_id)
    where c.status = 'planned' and c.lane = %(lane)s and c.due_at <= now()
      and s.status = 'sending'
      and (%(send_id)s::text is null or c.send_id = %(send_id)s)
    order by c.priority, c.due_at, c.batch_id
    limit %(limit)s
    for update of c skip locked
)
update batch b
set status = 'claimed',
    fence = nextval('fence'),
    claimed_by = %(worker)s,
    lease_until = now() + make_interval(secs => %(lease_seconds)s)
from due
where b.batch_id = due.batch_id
returning b.batch_id, b.fence, b.send_id, b.organisation_id, b.channel, b.content_id, b.payload, b.attempt

-- name: contents
select content_id, body from content where content_id = any(%(content_ids)s)

-- name: mark_sending
-- Durable before any byte leaves. A batch whose fence has moved on, or whose send was paused, does not come back.
update batch b
set status = 'sending', sending_at = now(),
    lease_until = now() + make_interval(secs => %(lease_seconds)s)
from unnest(%(batch_ids)s::bigint[], %(fences)s::bigint[]) as claim (batch_id, fence), send s
where b.batch_id = claim.batch_id and b.fence = claim.fence and b.status = 'claimed'
  and s.send_id = b.send_id and s.status = 'sending'
returning b.batch_id

-- name: release_claims
-- Claimed, but no byte left: back in the queue.
update batch b
set status = 'planned', claimed_by = null, lease_until = null
from unnest(%(batch_ids)s::bigint[], %(fences)s::bigint[]) as claim (batch_id, fence)
where b.batch_id = claim.batch_id and b.fence = claim.fence and b.status = 'claimed'

-- name: settle
update batch
set status = 'settled', settled_at = now(), payload = null, lease_until = null, last_error = %(error)s
where batch_id = %(batch_id)s and fence = %(fence)s and status in ('sending', 'unknown')
returning batch_id

-- name: mark_unknown
-- The payload shrinks to the messages in doubt; they wait for the provider's answer.
update batch
set status = 'unknown', payload = %(payload)s, message_count = %(message_count)s, lease_until = null,
    last_error = %(error)s
where batch_id = %(batch_id)s and fence = %(fence)s and status in ('sending', 'unknown')
returning batch_id

-- name: record_outcome
insert into outcome (batch_id, send_id, results) values (%(batch_id)s, %(send_id)s, %(results)s)

-- name: add_child
-- What was surely not sent goes on in a batch of its own, later.
insert into batch (send_id, organisation_id, generation, lane, channel, content_id, priority, message_count,
                   payload, due_at, attempt, parent_batch_id)
select send_id, organisation_id, generation, lane, channel, content_id, priority, %(message_count)s,
       %(payload)s, now() + make_interval(secs => %(delay_seconds)s), %(attempt)s, batch_id
from batch where batch_id = %(batch_id)s

-- name: expire_claims
-- A worker died before marking: nothing left, so the batch is simply due again.
-- (Locked rows are in somebody's hands, here and below: waiting for them could end in a deadlock.)
update batch set status = 'planned', claimed_by = null, lease_until = null
where batch_id in (select batch_id from batch where status = 'claimed' and lease_until < now()
                   for update skip locked)
returning batch_id

-- name: expire_sending
-- A worker died after marking: bytes may have left, so the batch is unknown until the provider says.
-- The new fence makes the old worker's late answer harmless.
update batch set status = 'unknown', fence = nextval('fence'), lease_until = null,
    last_error = 'the worker stopped while sending'
where batch_id in (select batch_id from batch where status = 'sending' and lease_until < now()
                   for update skip locked)
returning batch_id, send_id, payload

-- name: take_unknown
-- Batches in doubt that are old enough for the provider's own records to be complete.
update batch b
set fence = nextval('fence')
from (
    select batch_id from batch
    where status = 'unknown' and sending_at < now() - make_interval(secs => %(older_than_seconds)s)
      and (%(send_id)s::text is null or send_id = %(send_id)s)
    order by batch_id
    for update skip locked
) doubtful
where b.batch_id = doubtful.batch_id
returning b.batch_id, b.fence, b.send_id, b.organisation_id, b.channel, b.content_id, b.payload, b.attempt,
          b.lane, b.sending_at

-- name: lanes_of_send
select lane, sum(message_count)::bigint as messages
from batch where send_id = %(send_id)s and status in ('planned', 'claimed')
group by lane order by lane

-- name: progress
-- What a paused or closed send has planned is not due at any time.
select b.status, count(*) as batches, sum(b.message_count)::bigint as messages,
       (extract(epoch from min(b.due_at) filter (where b.status = 'planned' and s.status = 'sending') - now()))::float8
           as due_in_seconds
from batch b join send s using (send_id)
where b.send_id = %(send_id)s and (%(lane)s::text is null or b.lane = %(lane)s)
group by b.status

-- name: queue
select lane, status, count(*) as batches, sum(message_count)::bigint as messages,
       max(extract(epoch from now() - created_at))::float8 as oldest_seconds
from batch where status not in ('settled', 'cancelled')
group by lane, status order by lane, status
