-- What waited in the queue when it was looked at last?
select lane, status, messages, oldest_due_at, computed_at
from mart.queue_health
order by lane, status
