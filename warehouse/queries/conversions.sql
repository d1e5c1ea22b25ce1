-- What did messages bring?
select c.type, s.campaign_id, c.channel, c.currency, count(*) as conversions, count(distinct c.contact_id) as contacts,
       sum(c.value_micros) / 1e6 as value, round(median(c.seconds_since_touch) / 3600, 1) as median_hours_since_touch
from core.conversions c
join campaign.sends s using (send_id)
group by c.type, s.campaign_id, c.channel, c.currency
order by conversions desc, s.campaign_id
