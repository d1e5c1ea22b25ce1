-- Which messages did a provider take, and then never say anything of?
-- Older than a day: see `comms status MESSAGE` for each.
select s.message_id, s.send_id, s.channel, s.accepted_at
from core.message_status s
where s.status = 'accepted' and s.accepted_at < now() - interval 1 day
order by s.accepted_at
limit 200
