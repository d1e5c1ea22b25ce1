-- What mart.queue_health shows of the queue.

-- name: by_lane
-- Dead letters without a payload cannot be retried any more: they are no work for anybody.
select lane, status, sum(message_count)::bigint as messages, min(due_at) as oldest_due_at
from batch
where status in ('planned', 'claimed', 'sending', 'unknown') or (status = 'dead' and payload is not null)
group by lane, status
order by lane, status
