-- After which campaigns do people leave?
select campaign_id, channel, sum(delivered) as delivered, sum(unsubscribed) as unsubscribed, sum(complained) as complained,
       round(sum(unsubscribed) / nullif(sum(delivered), 0), 5) as unsubscribe_rate,
       round(sum(complained) / nullif(sum(delivered), 0), 5) as complaint_rate
from mart.campaign_performance
group by campaign_id, channel
order by unsubscribe_rate desc nulls last, campaign_id, channel
