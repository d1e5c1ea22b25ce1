-- On which days of the week do people read?
select channel, ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'][weekday] as day, sum(delivered) as delivered,
       round(sum(human_opened) / nullif(sum(delivered), 0), 4) as human_open_rate
from mart.send_time_heatmap
group by channel, weekday
order by channel, weekday
