-- Which rules kept most contacts out of the latest ten sends?
with latest as (
    select send_id, due_at from campaign.sends where due_at <= now() order by due_at desc, send_id limit 10
)
select l.send_id, e.channel, e.rule_id, e.contacts, e.sole_contacts
from latest l join mart.exclusions e using (send_id)
order by l.due_at desc, l.send_id, e.contacts desc, e.rule_id
