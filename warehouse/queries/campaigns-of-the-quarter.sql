-- Which campaigns of the last 90 days did best?
-- By human click rate; campaigns with fewer than 20 delivered messages are left out: their rates say little.
select campaign_id, channel, sum(delivered) as delivered,
       round(sum(human_opened) / nullif(sum(delivered), 0), 4) as human_open_rate,
       round(sum(human_clicked) / nullif(sum(delivered), 0), 4) as human_click_rate,
       sum(unsubscribed) as unsubscribed
from mart.campaign_performance
where due_at > now() - interval 90 days
group by campaign_id, channel
having sum(delivered) >= 20
order by human_click_rate desc nulls last, campaign_id
