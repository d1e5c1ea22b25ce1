-- Do more personal messages do better?
-- By band of the personalization score. Who gets which score is no chance: an experiment proves more than this.
select channel, score_band, sum(messages) as messages, sum(delivered) as delivered,
       round(sum(human_opened) / nullif(sum(delivered), 0), 4) as human_open_rate,
       round(sum(human_clicked) / nullif(sum(delivered), 0), 4) as human_click_rate,
       round(sum(converted) / nullif(sum(delivered), 0), 4) as conversion_rate
from mart.personalization_impact
group by channel, score_band
order by channel, score_band
