-- How did each of the last 30 days go, by channel?
select day, channel, accepted, delivered, round(delivery_rate, 4) as delivery_rate,
       round(human_open_rate, 4) as human_open_rate, round(human_click_rate, 4) as human_click_rate, unsubscribed, complained
from mart.channel_day
where day >= current_date - 30
order by day desc, channel
