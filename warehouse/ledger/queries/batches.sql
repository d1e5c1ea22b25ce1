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
copy batch (send_id, organisation_id, generation, lane, channel, content_id, priority, message_count, payload, due_at,
            message_class, topic, hours)
from stdin

-- name: claim_due
-- The next due batches of a lane for one worker, most urgent first, each organisation in its turn, so that one
-- large send starves nobody; each claim gets a fence of its own. What is stopped is not claimed.
-- (Materialized, because the planner may run a joined subquery, and with it the limit, more than once.)
with recursive waiting (organisation_id) as (
    (select organisation_id from batch where status = 'planned' and lane = %(lane)s
     order by organisation_id limit 1)
    union all
    select (select organisation_id from batch
            where status = 'planned' and lane = %(lane)s and organisation_id > waiting.organisation_id
            order by organisation_id limit 1)
    from waiting where waiting.organisation_id is not null
), candidate as materialized (
    select c.*
    from waiting w
    cross join lateral (
        select b.batch_id, b.organisation_id, b.priority, b.due_at
        from batch b
        join send s using (send_id)
        where b.status = 'planned' and b.lane = %(lane)s and b.organisation_id = w.organisation_id
          and b.due_at <= now() and b.priority <= %(least_priority)s
          and s.status = 'sending' and (%(send_id)s::text is null or b.send_id = %(send_id)s)
        order by b.priority, b.due_at, b.batch_id
        limit %(limit)s
        for update of b skip locked
    ) c
    where not exists (select from stop where scope in ('all', 'lane:' || %(lane)s,
                      'channel:' || split_part(%(lane)s, ':', 1), 'organisation:' || w.organisation_id))
), due as materialized (
    select batch_id from candidate
    order by priority,
             row_number() over (partition by priority, organisation_id order by due_at, batch_id),
             due_at, batch_id
    limit %(limit)s
)
update batch b
set status = 'claimed',
    fence = nextval('fence'),
    claimed_by = %(worker)s,
    lease_until = now() + make_interval(secs => %(lease_seconds)s)
from due
where b.batch_id = due.batch_id
returning b.batch_id, b.fence, b.send_id, b.organisation_id, b.channel, b.lane, b.content_id, b.message_count,
          b.payload, b.attempt, b.message_class, b.topic, b.hours

-- name: contents
select content_id, body from content where content_id = any(%(content_ids)s)

-- name: mark_sending
-- Durable before any byte leaves. A batch whose fence has moved on, or that was paused or stopped, does not come back.
update batch b
set status = 'sending', sending_at = now(),
    lease_until = now() + make_interval(secs => %(lease_seconds)s)
from unnest(%(batch_ids)s::bigint[], %(fences)s::bigint[]) as claim (batch_id, fence), send s
where b.batch_id = claim.batch_id and b.fence = claim.fence and b.status = 'claimed'
  and s.send_id = b.send_id and s.status = 'sending'
  and not exists (select from stop where scope in ('all', 'lane:' || b.lane, 'channel:' || b.channel,
                                                   'organisation:' || b.organisation_id))
returning b.batch_id

-- name: postpone
-- Claimed, but not allowed yet: back in the queue until then.
update batch b
set status = 'planned', claimed_by = null, lease_until = null, due_at = claim.due_at
from unnest(%(batch_ids)s::bigint[], %(fences)s::bigint[], %(due_at)s::timestamptz[]) as claim (batch_id, fence, due_at)
where b.batch_id = claim.batch_id and b.fence = claim.fence and b.status = 'claimed'

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
-- The payload shrinks to the messages in doubt; they wait for the provider's answer. Its silence was an attempt.
update batch
set status = 'unknown', payload = %(payload)s, message_count = %(message_count)s, lease_until = null,
    last_error = %(error)s, attempt = attempt + (status = 'sending')::int
where batch_id = %(batch_id)s and fence = %(fence)s and status in ('sending', 'unknown')
returning batch_id

-- name: record_outcome
insert into outcome (batch_id, send_id, results) values (%(batch_id)s, %(send_id)s, %(results)s)

-- name: add_child
-- What was surely not sent goes on in a batch of its own: later, elsewhere, or as a dead letter.
insert into batch (send_id, organisation_id, generation, lane, channel, content_id, priority, message_count,
                   payload, status, due_at, attempt, last_error, parent_batch_id, message_class, topic, hours)
select send_id, organisation_id, generation, coalesce(%(lane)s, lane), channel, content_id, priority,
       %(message_count)s, %(payload)s, %(status)s, now() + make_interval(secs => %(delay_seconds)s), %(attempt)s,
       %(error)s, batch_id, message_class, topic, hours
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
returning b.batch_id, b.fence, b.send_id, b.organisation_id, b.channel, b.lane, b.content_id, b.message_count,
          b.payload, b.attempt, b.message_class, b.topic, b.hours, b.sending_at

-- name: lanes_of_send
select lane, sum(message_count)::bigint as messages
from batch where send_id = %(send_id)s and status in ('planned', 'claimed')
group by lane order by lane

-- name: next_due
-- Seconds until something of the lane is due, for a worker that serves every send; no row when nothing waits.
select (extract(epoch from min(b.due_at) - now()))::float8 as due_in_seconds
from batch b join send s using (send_id)
where b.lane = %(lane)s and b.status = 'planned' and b.priority <= %(least_priority)s and s.status = 'sending'
having min(b.due_at) is not null

-- name: progress
-- What a paused or closed send has planned is not due at any time.
select b.status, count(*) as batches, sum(b.message_count)::bigint as messages,
       (extract(epoch from min(b.due_at) filter (where b.status = 'planned' and s.status = 'sending') - now()))::float8
           as due_in_seconds
from batch b join send s using (send_id)
where b.send_id = %(send_id)s and (%(lane)s::text is null or b.lane = %(lane)s)
group by b.status
