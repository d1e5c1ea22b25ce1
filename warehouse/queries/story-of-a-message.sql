-- What happened to a message, in order?
-- Parameter: message, the message's id.
select occurred_at, what, detail, source
from core.timeline
where message_id = $message
order by occurred_at
