-- How many messages did contacts get in the last 30 days?
select channel, messages, count(*) as contacts
from (
    select contact_id, channel, count(*) as messages
    from core.message_status
    where accepted_at > now() - interval 30 days and contact_id is not null
    group by contact_id, channel
)
group by channel, messages
order by channel, messages
