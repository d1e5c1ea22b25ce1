-- At which hours of their own day do people read?
-- Of messages delivered in that hour; hours with fewer than 20 delivered messages are left out.
select channel, local_hour, sum(delivered) as delivered,
       round(sum(human_opened) / nullif(sum(delivered), 0), 4) as human_open_rate,
       round(sum(human_clicked) / nullif(sum(delivered), 0), 4) as human_click_rate
from mart.send_time_heatmap
group by channel, local_hour
having sum(delivered) >= 20
order by channel, human_open_rate desc nulls last
