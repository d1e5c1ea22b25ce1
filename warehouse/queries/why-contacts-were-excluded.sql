-- Why were contacts excluded, over all sends?
-- sole_contacts: those whom this rule alone kept out, so what changing it would bring.
select rule_id, channel, sum(contacts) as contacts, sum(sole_contacts) as sole_contacts, count(distinct send_id) as sends
from mart.exclusions
group by rule_id, channel
order by contacts desc, rule_id, channel
