-- How long after delivery do people open?
select channel, count(*) as opened,
       round(quantile_cont(epoch(first_human_opened_at - delivered_at) / 60, 0.25), 1) as minutes_p25,
       round(quantile_cont(epoch(first_human_opened_at - delivered_at) / 60, 0.5), 1) as minutes_median,
       round(quantile_cont(epoch(first_human_opened_at - delivered_at) / 60, 0.9), 1) as minutes_p90
from core.message_status
where first_human_opened_at >= delivered_at
group by channel
order by channel
