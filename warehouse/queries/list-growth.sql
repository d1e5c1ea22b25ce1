-- How does each list grow?
select organisation_id, date_trunc('month', day)::date as month, sum(new_contacts) as new_contacts,
       sum(unsubscribed) as unsubscribed, sum(complained) as complained, sum(bounced) as bounced, sum(erased) as erased,
       sum(net) as net
from mart.list_growth
group by organisation_id, month
order by organisation_id, month desc
