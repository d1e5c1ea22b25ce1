-- Which webhooks could not be understood?
select provider, reason, count(*) as webhooks, min(received_at) as first_at, max(received_at) as last_at
from raw.event_rejects
group by provider, reason
order by webhooks desc, provider
