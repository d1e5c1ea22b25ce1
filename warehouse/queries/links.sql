-- Which links do people click?
select m.campaign_id, e.url, count(distinct e.message_id) as messages, count(distinct e.contact_id) as contacts
from core.events e
join campaign.sends m using (send_id)
where e.kind = 'clicked' and e.verdict = 'human' and e.url is not null
group by m.campaign_id, e.url
order by messages desc, e.url
limit 100
