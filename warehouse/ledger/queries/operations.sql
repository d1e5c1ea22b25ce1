-- What people do to sends and batches. Each leaves an audit row in the same transaction.

-- name: audit
insert into audit (actor, action, subject, details)
values (%(actor)s, %(action)s, %(subject)s, %(details)s)

-- name: pause_send
update send set status = 'paused', status_reason = %(reason)s
where send_id = %(send_id)s and status in ('scheduled', 'sending')
returning status

-- name: resume_send
-- One that has begun is open again at once; one that has not waits for its time.
update send
set status = case when exists (select from enqueued e where e.send_id = send.send_id)
                  then 'sending' else 'scheduled' end,
    status_reason = null, requested_run_at = null
where send_id = %(send_id)s and status in ('paused', 'failed')
returning status

-- name: cancel_send
update send set status = 'cancelled', status_reason = %(reason)s, completed_at = now()
where send_id = %(send_id)s and status in ('scheduled', 'sending', 'paused', 'failed')
returning status

-- name: fail_send
update send set status = 'failed', status_reason = %(reason)s
where send_id = %(send_id)s and status in ('scheduled', 'sending')
returning status

-- name: cancelled_batches
-- What waits in cancelled sends, locked; a batch in somebody's hands is left alone until it comes back.
select b.batch_id, b.send_id, b.payload
from batch b join send s using (send_id)
where b.status in ('planned', 'dead') and b.payload is not null and s.status = 'cancelled'
order by b.batch_id limit %(limit)s
for update of b skip locked

-- name: cancel_batches
update batch set status = 'cancelled', settled_at = now(), payload = null, lease_until = null
where batch_id = any(%(batch_ids)s)

-- name: put_stop
insert into stop (scope, reason, actor) values (%(scope)s, %(reason)s, %(actor)s)
on conflict (scope) do nothing
returning scope

-- name: lift_stop
delete from stop where scope = %(scope)s returning scope

-- name: stops
select scope, reason, actor, stopped_at from stop order by scope

-- name: dead_letters
select batch_id, send_id, lane, message_count, attempt, last_error, created_at
from batch
where status = 'dead' and payload is not null and (%(send_id)s::text is null or send_id = %(send_id)s)
order by batch_id

-- name: retry_dead
-- Back in the queue with all attempts before them. The send opens again.
with revived as (
    update batch set status = 'planned', attempt = 0, due_at = now()
    where batch_id in (
        select b.batch_id from batch b join send s using (send_id)
        where b.status = 'dead' and b.payload is not null and s.status in ('sending', 'sent')
          and (%(send_id)s::text is null or b.send_id = %(send_id)s)
          and (%(batch_ids)s::bigint[] is null or b.batch_id = any(%(batch_ids)s))
        for update of b skip locked)
    returning batch_id, send_id, message_count, payload
), opened as (
    update send set status = 'sending', requested_run_at = null
    where send_id in (select send_id from revived) and status = 'sent'
)
select batch_id, send_id, message_count, payload from revived

-- name: drop_dead
-- Personal data of dead letters nobody revived.
update batch set payload = null, settled_at = now()
where status = 'dead' and payload is not null and created_at < now() - make_interval(days => %(keep_days)s)
returning batch_id

-- name: lock_send
select from send where send_id = %(send_id)s for update

-- name: count_resends
select count(*) from resend where of_send = %(send_id)s

-- name: put_resend
insert into resend (send_id, of_send, contact_ids) values (%(send_id)s, %(of_send)s, %(contact_ids)s)

-- name: resend
select contact_ids from resend where send_id = %(send_id)s

-- name: request_coming_sends
-- Runs take seconds to start and to plan: those of sends that are due soon are asked for before their time. What is
-- planned waits for it.
update send set requested_run_at = now()
where status = 'scheduled' and requested_run_at is null
  and due_at > now() and due_at <= now() + make_interval(secs => %(ahead_seconds)s)
returning send_id, requested_run_at

-- name: split_batch
-- A claimed batch keeps some of its messages; the others are due as before, in a batch of their own.
with kept as (
    update batch set payload = %(kept)s, message_count = %(kept_count)s
    where batch_id = %(batch_id)s and fence = %(fence)s and status = 'claimed'
    returning *
)
insert into batch (send_id, organisation_id, generation, lane, channel, content_id, priority, message_count,
                   payload, due_at, attempt, last_error, parent_batch_id, message_class, topic, hours)
select send_id, organisation_id, generation, lane, channel, content_id, priority, %(rest_count)s,
       %(rest)s, due_at, attempt, last_error, batch_id, message_class, topic, hours
from kept

-- name: reroute
-- What waits in a lane whose provider is down goes to another lane of the channel.
update batch set lane = %(to_lane)s
where lane = %(from_lane)s and status = 'planned' and due_at <= now()
  and (%(send_id)s::text is null or send_id = %(send_id)s)
returning batch_id

-- name: queue
-- What there is per lane and state; what is settled counts for the last hour only.
select lane, status, count(*) as batches, sum(message_count)::bigint as messages,
       max(extract(epoch from now() - case when status = 'settled' then settled_at else created_at end))::float8
           as oldest_seconds,
       avg(extract(epoch from settled_at - sending_at)) filter (where status = 'settled')::float8 as average_seconds
from batch
where status <> 'cancelled' and (status <> 'settled' or settled_at > now() - interval '1 hour')
group by lane, status order by lane, status

-- name: purge_batches
-- Long since settled; their outcomes are in the lake. Parents go only with or after their children.
delete from batch b
where b.status in ('settled', 'cancelled', 'dead') and b.payload is null
  and b.settled_at < now() - make_interval(days => %(keep_days)s)
  and not exists (select from outcome o where o.batch_id = b.batch_id)
  and not exists (select from batch child where child.parent_batch_id = b.batch_id)
returning b.batch_id

-- name: purge_contents
delete from content c
where not exists (select from batch b where b.content_id = c.content_id)
returning c.content_id
